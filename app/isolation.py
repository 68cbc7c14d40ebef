"""A batch in which one input fails must not fail the others."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from app.errors import DeviceLost, InferenceFailed, NonFiniteOutput
from app.models.runner import Row, TokenizedInput

Run = Callable[[Sequence[TokenizedInput]], list[Row]]

logger = logging.getLogger(__name__)


def run_isolated(run: Run, batch: Sequence[TokenizedInput]) -> list[Row | InferenceFailed]:
    """Run the batch; if it fails, halve it until only the culprits fail, in at most `2n - 1` runs for `n`.

    An input whose row holds NaN or infinity fails too. Raises `DeviceLost`, after which no run can succeed.
    """
    failure: InferenceFailed
    try:
        return [_finite(row) for row in run(batch)]
    except DeviceLost:
        raise
    except InferenceFailed as error:
        failure = error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        # The type only: the message of a foreign error may quote the input.
        failure = InferenceFailed(f"The model failed on this input with {type(error).__name__}.")
        logger.warning("batch_failed", extra={"error_type": type(error).__name__, "inputs": len(batch)})
    # Out of the handler, so that the error's frames no longer hold the failed batch's tensors in memory.
    if len(batch) == 1:
        return [failure]
    middle = len(batch) // 2
    return run_isolated(run, batch[:middle]) + run_isolated(run, batch[middle:])


def _finite(row: Row) -> Row | InferenceFailed:
    if np.isfinite(row).all():
        return row
    return NonFiniteOutput("The model's output for this input holds NaN or infinity.")
