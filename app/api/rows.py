"""The model's rows as callers want them: vectors of length 1 or of fewer dimensions, documents in order."""

from collections.abc import Sequence

import numpy as np
from starlette.requests import Request

from app.api.endpoint import inference_of
from app.errors import InvalidInput
from app.models.runner import Row

SMALLEST_NORM = 1e-12
"""As in `torch.nn.functional.normalize`: a zero vector stays one, and never becomes NaN."""


def check_dimensions(request: Request, dimensions: int | None) -> None:
    """Raise `InvalidInput` if the model's embeddings are shorter than asked for."""
    if dimensions is None:
        return
    most = inference_of(request).info.dimensions
    if most is not None and dimensions > most:
        raise InvalidInput(f"The model's embeddings have {most} dimensions.", field="dimensions")


def vectors(rows: Sequence[Row], *, dimensions: int | None = None, normalize: bool = True) -> list[Row]:
    """Vectors of length 1, float32 `[dimensions]`; without `normalize` as long as the model makes them.

    Fewer dimensions are the first ones, as Matryoshka representation learning orders them.
    """
    cut = [row[:dimensions] for row in rows]
    if not normalize:
        return cut
    return [vector / max(float(np.sqrt(vector @ vector)), SMALLEST_NORM) for vector in cut]


def ranking(rows: Sequence[Row], top: int | None = None) -> list[int]:
    """Indices of rerank rows, most relevant first, all or the `top` ones; by logit, as scores near 1 tie."""
    order: list[int] = np.argsort([-row[0] for row in rows], kind="stable")[:top].tolist()
    return order
