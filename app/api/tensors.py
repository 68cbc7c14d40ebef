"""Tensors on the wire: JSON, and the binary tensor extension of the Open Inference Protocol.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.errors import InvalidInput

_LENGTH = struct.Struct("<I")


class Part(BaseModel):
    """A part of a request's body."""

    model_config = ConfigDict(strict=True)


class BinarySize(Part):
    """Parameters of a tensor."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = Field(
        None, description="The tensor's bytes behind the JSON, in the place of `data`."
    )


class InputTensor(Part):
    """Texts in UTF-8, in JSON or behind it."""

    name: Literal["text", "text_pair"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, max_length=2, description="[n] or [n, 1]; [n, 2] for pairs."
    )
    datatype: Literal["BYTES"]
    parameters: BinarySize | None = None
    data: list[Any] | None = None

    @property
    def columns(self) -> int:
        """How many texts there are in a row."""
        return self.shape[1] if len(self.shape) == 2 else 1


def read_tensors(tensors: Sequence[InputTensor], binary: memoryview) -> list[list[str]]:
    """The texts of each tensor in row-major order, `binary` being what follows the JSON.

    Raises `InvalidInput` unless data and shapes agree and nothing is left over.
    """
    read = []
    for index, tensor in enumerate(tensors):
        field = f"inputs[{index}]"
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if (size is None) == (tensor.data is None):
            raise InvalidInput("Either data or parameters.binary_data_size is needed.", field=field)
        if size is None:
            texts = _from_json(tensor.data or [], field)
        else:
            if size > len(binary):
                raise InvalidInput("The body ends within this tensor.", field=field)
            texts = _from_binary(binary[:size], field)
            binary = binary[size:]
        if len(texts) != math.prod(tensor.shape):
            message = f"The shape has {math.prod(tensor.shape)} elements, the data {len(texts)}."
            raise InvalidInput(message, field=f"{field}.shape")
        read.append(texts)
    if binary:
        raise InvalidInput("The body goes on behind its last tensor.", field="inputs")
    return read


def _from_json(data: list[Any], field: str) -> list[str]:
    """Flat or nested lists."""
    texts = [text for row in data for text in (row if isinstance(row, list) else (row,))]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidInput("Each element must be a text.", field=f"{field}.data")
    return texts


def _from_binary(data: memoryview, field: str) -> list[str]:
    try:
        return [element.decode() for element in split_elements(data, field)]
    except UnicodeDecodeError:
        raise InvalidInput("Each element must be a text in UTF-8.", field=field) from None


def split_elements(data: memoryview, field: str) -> list[bytes]:
    """The elements of a binary BYTES tensor; before each stands its length: 4 bytes, little-endian."""
    elements = []
    position = 0
    while position < len(data):
        start = position + _LENGTH.size
        position = start
        if start <= len(data):
            position += _LENGTH.unpack_from(data, start - _LENGTH.size)[0]
        if position > len(data):
            raise InvalidInput("The binary data ends within an element.", field=field)
        elements.append(bytes(data[start:position]))
    return elements


def join_elements(elements: Iterable[bytes]) -> bytes:
    """The binary form of a BYTES tensor."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


@dataclass(frozen=True, slots=True, eq=False)
class OutputTensor:
    """Texts or float32 numbers, flat in row-major order, to be sent."""

    name: str
    shape: Sequence[int]
    values: list[str] | NDArray[np.float32]

    def encode(self, *, binary: bool) -> tuple[dict[str, Any], bytes]:
        """What stands in the JSON, for orjson, and what stands behind it."""
        if isinstance(self.values, list):
            described = {"name": self.name, "datatype": "BYTES", "shape": self.shape}
            data = join_elements(text.encode() for text in self.values) if binary else b""
        else:
            described = {"name": self.name, "datatype": "FP32", "shape": self.shape}
            data = self.values.astype("<f4", copy=False).tobytes() if binary else b""
        if binary:
            return {**described, "parameters": {"binary_data_size": len(data)}}, data
        return {**described, "data": self.values}, data
