"""The shapes in which one or many inputs come in one field, as types for a body's fields."""

from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.models.runner import Input, TextInput, TokenIdsInput

MAX_TOKEN_ID = 2**31 - 1


def _refuse(expected: str, index: int | None = None) -> NoReturn:
    path = "" if index is None else f"[{index}]"
    raise PydanticCustomError("inputs", "Input should be {expected}", {"expected": expected, "path": path})


def _read_input(value: Any, index: int | None = None) -> Input:
    if isinstance(value, str):
        return TextInput(value)
    # `set(map(type, …))` rather than isinstance: True is an int, too
    if isinstance(value, list) and set(map(type, value)) == {int}:
        if min(value) < 0 or max(value) > MAX_TOKEN_ID:
            _refuse(f"token ids from 0 to {MAX_TOKEN_ID}", index)
        return TokenIdsInput(tuple(value))
    _refuse("a text or a non-empty list of token ids", index)


def _read_inputs(value: Any) -> list[Input]:
    if not isinstance(value, list) or (value and isinstance(value[0], int)):
        return [_read_input(value)]
    if not value:
        _refuse("at least one text or list of token ids")
    return [_read_input(item, index) for index, item in enumerate(value)]


_TEXT: dict[str, Any] = {"type": "string"}
_IDS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID},
    "minItems": 1,
}

Inputs = Annotated[
    list[Input],
    PlainValidator(_read_inputs),
    WithJsonSchema(
        {"anyOf": [_TEXT, _IDS, {"type": "array", "items": {"anyOf": [_TEXT, _IDS]}, "minItems": 1}]}
    ),
]
"""A text, a list of token ids, or a list of texts and such lists."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Texts and pairs of texts; `single` if they came as one, without a list around it."""

    items: list[TextInput]
    single: bool


def _read_sequence(value: list[Any], index: int | None = None) -> TextInput:
    if not 1 <= len(value) <= 2 or not all(isinstance(text, str) for text in value):
        _refuse("[text] or [text, text], a pair; several texts are [[text], [text], …]", index)
    return TextInput(*value)


def _read_sequences(value: Any) -> Sequences:
    if isinstance(value, str):
        return Sequences([TextInput(value)], single=True)
    if not isinstance(value, list) or not value:
        _refuse("a text, a pair of texts, or a non-empty list of [text] or [text, text]")
    if not isinstance(value[0], list):
        return Sequences([_read_sequence(value)], single=True)
    for index, item in enumerate(value):
        if not isinstance(item, list):
            _refuse("[text] or [text, text]", index)
    return Sequences([_read_sequence(item, index) for index, item in enumerate(value)], single=False)


_PAIR: dict[str, Any] = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2}

SequenceInputs = Annotated[
    Sequences,
    PlainValidator(_read_sequences),
    WithJsonSchema({"anyOf": [_TEXT, _PAIR, {"type": "array", "items": _PAIR, "minItems": 1}]}),
]
"""A text, a pair `[text, text]`, or a list of `[text]` and `[text, text]`. As in text-embeddings-inference,
`["a", "b"]` is one pair."""


def _read_documents(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        _refuse("a non-empty list of texts")
    texts = []
    for index, item in enumerate(value):
        text = item.get("text") if isinstance(item, dict) else item
        if not isinstance(text, str):
            _refuse('a text or {"text": text}', index)
        texts.append(text)
    return texts


_DOCUMENT: dict[str, Any] = {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}

Documents = Annotated[
    list[str],
    PlainValidator(_read_documents),
    WithJsonSchema({"type": "array", "items": {"anyOf": [_TEXT, _DOCUMENT]}, "minItems": 1}),
]
"""A list of texts, each by itself or as `{"text": text}`."""
