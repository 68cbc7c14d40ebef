"""Everything that can go wrong, in the domain's own words. HTTP lives in `app.api.errors`."""

from typing import ClassVar, Literal

Outcome = Literal["ok", "invalid", "rejected", "expired", "cancelled", "failed"]


class VitrineError(Exception):
    """A failure with a message for the caller, a stable code and, where one is to blame, a field."""

    code: ClassVar[str] = "internal_error"
    outcome: ClassVar[Outcome] = "failed"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidInput(VitrineError):
    """The caller's input cannot be served as it is."""

    code = "invalid_input"
    outcome = "invalid"


class InputTooLong(InvalidInput):
    """An input has more tokens than the model reads, and the caller asked not to truncate."""

    code = "input_too_long"


class RequestTooLarge(InvalidInput):
    """More inputs, tokens or bytes than one request may ever carry."""

    code = "request_too_large"


class ModelNotFound(InvalidInput):
    """The request names a model that is not served here."""

    code = "model_not_found"


class TaskNotSupported(InvalidInput):
    """The served model cannot do the task that the route stands for."""

    code = "task_not_supported"


class Overloaded(VitrineError):
    """Refused at once, before any work, because the queue would not be served in time."""

    code = "overloaded"
    outcome = "rejected"

    def __init__(self, message: str, *, reason: str, retry_after: float) -> None:
        """`reason` is a short label for metrics, `retry_after` the seconds after which to try again."""
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class Unavailable(VitrineError):
    """The server is starting or draining and takes no new work."""

    code = "unavailable"
    outcome = "rejected"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeadlineExceeded(VitrineError):
    """The deadline passed before the answer was ready."""

    code = "deadline_exceeded"
    outcome = "expired"


class ClientGone(VitrineError):
    """The caller closed the connection before the answer was ready."""

    code = "client_gone"
    outcome = "cancelled"


class InferenceFailed(VitrineError):
    """The model could not compute this input."""

    code = "inference_failed"


class OutOfMemory(InferenceFailed):
    """The input alone, in a batch of its own, does not fit into the device's memory."""

    code = "out_of_memory"


class NonFiniteOutput(InferenceFailed):
    """The model's output holds NaN or infinity, which no answer may be made of."""

    code = "non_finite_output"


class WorkerDied(VitrineError):
    """The worker that runs the model is gone; the process is about to end."""

    code = "worker_died"


class FatalError(VitrineError):
    """The process ends; its supervisor sees `exit_code` (sysexits.h)."""

    exit_code: ClassVar[int] = 70


class ModelError(FatalError):
    """The model folder is missing, incomplete or corrupt."""

    code = "model_corrupt"
    exit_code = 66


class DeviceUnavailable(FatalError):
    """The device asked for is not there."""

    code = "device_unavailable"
    exit_code = 69


class DeviceLost(FatalError):
    """The device failed in a way that no later batch survives; only a restart helps."""

    code = "device_lost"
    exit_code = 70


class DrainTimedOut(FatalError):
    """Accepted requests were still without an answer when the time to drain was over."""

    code = "drain_timed_out"


class SettingsInvalid(FatalError):
    """A setting is unknown or has a value that is not allowed."""

    code = "settings_invalid"
    exit_code = 78
