"""Texts to token ids, by the folder's tokenizer.json and nothing else.

The `tokenizers` library is called directly: Transformers' wrapper costs several times as much. The file may
carry truncation and padding of its own (all-MiniLM-L6-v2's cuts at 128); ours replace them, once, at load,
and nothing changes after that.
"""

from collections.abc import Sequence
from itertools import accumulate

import tokenizers
from tokenizers.normalizers import Lowercase, Normalizer
from tokenizers.normalizers import Sequence as NormalizerSequence

from app.errors import InputTooLong, InvalidInput, ModelError
from app.models.checkpoint import Checkpoint
from app.models.folder import AGAIN
from app.models.runner import Input, Task, TextInput, TokenIdsInput, TokenizedInput


class Tokenizer:
    """Turns inputs into token ids with special tokens, at most `max_tokens` each. Threads may share it."""

    def __init__(self, checkpoint: Checkpoint, *, max_tokens: int, vocab_size: int) -> None:
        """`vocab_size` is the number of the model's token embeddings. Raises `ModelError`."""
        try:
            backend = tokenizers.Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing more specific
            raise ModelError(f"tokenizer.json cannot be read ({error}). {AGAIN}") from error
        if (known := backend.get_vocab_size(with_added_tokens=True)) > vocab_size:
            raise ModelError(
                f"tokenizer.json knows {known} tokens, the weights only {vocab_size}: they do not belong "
                f"together. {AGAIN}"
            )
        backend.no_padding()
        backend.enable_truncation(max_tokens, direction=checkpoint.tokenizer.truncation_side)
        if checkpoint.sentence.lower_case:
            backend.normalizer = _lowercasing(backend.normalizer)
        self._backend = backend
        self._max_tokens = max_tokens
        self._keeps_end = checkpoint.tokenizer.truncation_side == "left"
        self._vocab_size = vocab_size
        self._prompt = checkpoint.sentence.prompt if checkpoint.task is Task.EMBEDDINGS else ""
        self._with_offsets = checkpoint.task is Task.TOKEN_CLASSIFICATION
        self._encode_batch = backend.encode_batch if self._with_offsets else backend.encode_batch_fast
        # The library splits words in the model's own way if it marks the tokens that continue one
        self._marks_words = bool(getattr(backend.model, "continuing_subword_prefix", None))
        unk = checkpoint.tokenizer.unknown
        self._unk_id = backend.token_to_id(unk) if unk else None
        self._prefix, self._suffix = self._special_tokens()

    def __call__(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        """Raises `InputTooLong` (unless `truncate`) and `InvalidInput`, `field` being the input's index."""
        texts = [self._text(index, item) for index, item in enumerate(inputs) if isinstance(item, TextInput)]
        try:
            encodings = iter(self._encode_batch(texts))
        except TypeError:
            _raise_for_surrogates(inputs)
            raise
        return [
            self._from_encoding(index, item, next(encodings), truncate=truncate)
            if isinstance(item, TextInput)
            else self._from_ids(index, item, truncate=truncate)
            for index, item in enumerate(inputs)
        ]

    def _text(self, index: int, item: TextInput) -> str | tuple[str, str]:
        if item.pair is None:
            return self._prompt + item.text
        if self._with_offsets:
            raise InvalidInput("Token classification reads single texts, not pairs.", field=str(index))
        return self._prompt + item.text, item.pair

    def _from_encoding(
        self, index: int, item: TextInput, encoding: tokenizers.Encoding, *, truncate: bool
    ) -> TokenizedInput:
        ids = encoding.ids
        truncated = len(ids) >= self._max_tokens and bool(encoding.overflowing)
        if truncated and not truncate:
            raise self._too_long(index, self._count(item))
        if not self._with_offsets:
            return TokenizedInput(ids, encoding.type_ids, truncated)
        return TokenizedInput(
            ids,
            encoding.type_ids,
            truncated,
            text=item.text,
            offsets=encoding.offsets,
            special=encoding.special_tokens_mask,
            words=encoding.word_ids if self._marks_words else self._words(item.text, encoding),
        )

    def _from_ids(self, index: int, item: TokenIdsInput, *, truncate: bool) -> TokenizedInput:
        ids = item.ids
        if self._with_offsets:
            raise InvalidInput(
                "Token classification needs a text, since entities are parts of it.", field=str(index)
            )
        if ids and not (min(ids) >= 0 and max(ids) < self._vocab_size):
            raise InvalidInput(
                f"Input {index} holds a token id outside of the vocabulary, 0 to {self._vocab_size - 1}.",
                field=str(index),
            )
        room = self._max_tokens - len(self._prefix) - len(self._suffix)
        truncated = len(ids) > room
        if truncated and not truncate:
            raise self._too_long(index, len(ids) - room + self._max_tokens)
        kept = ids[-room:] if self._keeps_end else ids[:room]
        whole = [*self._prefix, *kept, *self._suffix]
        return TokenizedInput(whole, [0] * len(whole), truncated)

    def _too_long(self, index: int, tokens: int) -> InputTooLong:
        return InputTooLong(
            f"Input {index} has {tokens} tokens, this model reads at most {self._max_tokens}: shorten it, or "
            "let it be truncated.",
            field=str(index),
        )

    def _count(self, item: TextInput) -> int:
        """How many tokens the input would have, untruncated."""
        total = self._backend.num_special_tokens_to_add(item.pair is not None)
        for text in (self._prompt + item.text, item.pair):
            if text is not None:
                encoding = self._backend.encode(text, add_special_tokens=False)
                total += sum(map(len, [encoding, *encoding.overflowing]))
        return total

    def _words(self, text: str, encoding: tokenizers.Encoding) -> list[int]:
        """Words by white space, as Transformers' pipeline guesses them where tokens do not tell."""
        begins = (
            start == 0 or " " in text[start - 1 : start + 1] or token == self._unk_id
            for token, (start, _) in zip(encoding.ids, encoding.offsets, strict=True)
        )
        return list(accumulate(begins))

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after a single text."""
        probe = self._backend.encode("a")
        content = [position for position, special in enumerate(probe.special_tokens_mask) if not special]
        if not content:
            raise ModelError(
                "tokenizer.json makes no token of the letter a; it cannot be the tokenizer of texts."
            )
        return probe.ids[: content[0]], probe.ids[content[-1] + 1 :]


def _lowercasing(normalizer: Normalizer | None) -> Normalizer:
    return Lowercase() if normalizer is None else NormalizerSequence([Lowercase(), normalizer])


def _raise_for_surrogates(inputs: Sequence[Input]) -> None:
    for index, item in enumerate(inputs):
        if isinstance(item, TextInput):
            try:
                (item.text + (item.pair or "")).encode()
            except UnicodeEncodeError:
                raise InvalidInput(
                    f"Input {index} holds a lone surrogate, which is no character: send valid Unicode.",
                    field=str(index),
                ) from None
