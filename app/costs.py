"""How long work takes, learned from the batches that ran.

The model is a line: a batch of `t` tokens takes `start + t * per_token` seconds. Both are fitted by least
squares over the batches so far, older ones weighing exponentially less, so that the fit follows the machine.
"""

from dataclasses import dataclass

MEMORY = 0.9
"""The weight of the past per batch: about the last ten count, so that a slower machine is noticed in time."""


@dataclass(slots=True)
class CostModel:
    """Seconds per batch as a function of its tokens, padding included."""

    weight: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0
    tokens_squared: float = 0.0
    tokens_seconds: float = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """Learn from one batch that ran."""
        self.weight = MEMORY * self.weight + 1
        self.tokens = MEMORY * self.tokens + tokens
        self.seconds = MEMORY * self.seconds + seconds
        self.tokens_squared = MEMORY * self.tokens_squared + tokens * tokens
        self.tokens_seconds = MEMORY * self.tokens_seconds + tokens * seconds

    def fit(self) -> tuple[float, float]:
        """`start` in seconds and `per_token` in seconds per token; both 0 before the first batch."""
        if not self.tokens:
            return 0.0, 0.0
        ratio = self.seconds / self.tokens
        spread = self.weight * self.tokens_squared - self.tokens**2
        # Batches of one size tell nothing of the slope; noise may turn it or the start negative.
        if spread <= 1e-6 * self.tokens**2:
            return 0.0, ratio
        per_token = (self.weight * self.tokens_seconds - self.tokens * self.seconds) / spread
        start = (self.seconds - per_token * self.tokens) / self.weight
        if per_token <= 0 or start < 0:
            return 0.0, ratio
        return start, per_token

    def predict(self, tokens: int, batches: int) -> float:
        """Seconds that one worker needs for `tokens` of work in `batches` batches."""
        start, per_token = self.fit()
        return start * batches + per_token * tokens

    def start_in_tokens(self) -> int:
        """What starting a batch costs, expressed in tokens."""
        start, per_token = self.fit()
        return int(start / per_token) if per_token else 0
