"""Texts to ask with: English words in lengths as they come in practice, many short and a few long."""

import random

_PROSE = (
    "the of a glass house stands on hill and light falls through every wall while people inside read write "
    "cook sleep argue laugh about weather trains music engineering bridges rivers birds winter summer bread "
    "servers requests queues batches models tokens latency memory failure recovery observation"
)
WORDS = _PROSE.split()


def texts(count: int, *, seed: int = 7, mean: float = 30, longest: int = 200) -> list[str]:
    """`count` different texts of about `mean` words (exponential), at most `longest`."""
    choose = random.Random(seed)
    return [
        " ".join([*choose.choices(WORDS, k=min(longest, 1 + int(choose.expovariate(1 / mean)))), str(n)])
        for n in range(count)
    ]
