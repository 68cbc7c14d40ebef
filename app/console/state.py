"""The server's state at one instant, read from its parts when somebody looks."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.admission import Admission
from app.batcher import Batcher
from app.batching import Reason
from app.console.rates import REQUESTS, SECONDS, Quantiles, Rates
from app.health import Health, Phase
from app.models.runner import ModelInfo, ModelRunner

if TYPE_CHECKING:
    from app.telemetry.gpu import DeviceStatus, GpuStatus

PERIODS = (60, SECONDS)
COLUMN = 5
"""Seconds that one column of the history stands for."""
NO_GPU = frozenset({"starting", "library_missing", "no_device", "closed"})
"""States of the GPU telemetry that are no news on a machine without a GPU."""


@dataclass(frozen=True, slots=True)
class Period:
    """What happened in the last `seconds`. Ratios are 0 where nothing happened."""

    seconds: int
    requests_per_second: float
    failed_ratio: float
    overloaded_ratio: float
    refused_ratio: float
    batches_per_second: float
    tokens_per_second: float
    inputs_per_batch: float
    padding_ratio: float
    busy_ratio: float
    """Share of the time that the workers computed."""
    reasons: dict[str, float]
    """Share of the batches that was let go for each reason."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Work in the server."""

    saturation: float
    backlog_seconds: float
    queued_inputs: int
    queued_tokens: int
    executing_inputs: int
    executing_tokens: int
    admitted_inputs: int
    max_inputs: int
    admitted_tokens: int
    max_tokens: int
    worker_seen_seconds: float
    """Since a worker last ended a batch or was free."""


@dataclass(frozen=True, slots=True)
class Column:
    """Requests of `COLUMN` seconds."""

    requests: int
    failed: int
    refused: int
    """For overload or for what they asked."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device; a value that it does not tell is None."""

    name: str
    uuid: str
    up: bool
    reason: str
    utilization_ratio: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    temperature_celsius: float | None
    power_watts: float | None
    power_limit_watts: float | None


@dataclass(frozen=True, slots=True)
class State:
    """All of it."""

    phase: Phase
    detail: str
    unready: str | None
    """Why a request sent now would not be answered."""
    name: str
    model: ModelInfo | None
    """None until it has given its first answer."""
    version: str
    uptime_seconds: float
    queue: Queue
    periods: list[Period]
    history: list[Column]
    """The oldest first."""
    stages: list[Quantiles]
    gpu_trouble: str | None
    gpus: list[Gpu]


class StateReader:
    """Knows where to look."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        health: Health,
        runner: ModelRunner,
        batcher: Batcher,
        admission: Admission,
        slo_wait: float,
        rates: Rates,
        gpu: Callable[[], "GpuStatus"] | None,
    ) -> None:
        self._name = name
        self._version = version
        self._health = health
        self._runner = runner
        self._batcher = batcher
        self._admission = admission
        self._slo_wait = slo_wait
        self._rates = rates
        self._gpu = gpu
        self._started = time.monotonic()

    def read(self) -> State:
        """The state now."""
        now = time.monotonic()
        uptime = now - self._started
        counts = self._rates.counts(now)
        answered = self._batcher.snapshot().last_success is not None
        gpu = self._gpu() if self._gpu else None
        return State(
            phase=self._health.phase,
            detail=self._health.detail,
            unready=self._health.ready(),
            name=self._name,
            model=self._runner.info if answered else None,
            version=self._version,
            uptime_seconds=uptime,
            queue=self._queue(now),
            periods=[self._period(counts, seconds, now % 1, uptime) for seconds in PERIODS],
            history=_history(counts, now),
            stages=self._rates.quantiles(now),
            gpu_trouble=_gpu_trouble(gpu) if gpu else None,
            gpus=[_gpu(device) for device in gpu.devices] if gpu else [],
        )

    def _queue(self, now: float) -> Queue:
        snapshot, admission = self._batcher.snapshot(), self._admission
        backlog = admission.backlog_seconds()
        return Queue(
            saturation=backlog / self._slo_wait,
            backlog_seconds=backlog,
            queued_inputs=snapshot.queued_inputs,
            queued_tokens=snapshot.queued_tokens,
            executing_inputs=snapshot.executing_inputs,
            executing_tokens=snapshot.executing_tokens,
            admitted_inputs=admission.inputs,
            max_inputs=admission.limits.max_inputs,
            admitted_tokens=admission.tokens,
            max_tokens=admission.limits.max_tokens,
            worker_seen_seconds=max(0.0, now - snapshot.heartbeat),
        )

    def _period(
        self, counts: Mapping[str, NDArray[np.float64]], seconds: int, second_begun: float, uptime: float
    ) -> Period:
        total = {name: float(by_second[-seconds:].sum()) for name, by_second in counts.items()}
        elapsed = max(1.0, min(uptime, seconds - 1 + second_begun))
        requests, batches = max(1.0, total["requests"]), max(1.0, total["batches"])
        return Period(
            seconds=seconds,
            requests_per_second=total["requests"] / elapsed,
            failed_ratio=total["failed"] / requests,
            overloaded_ratio=total["overloaded"] / requests,
            refused_ratio=total["refused"] / requests,
            batches_per_second=total["batches"] / elapsed,
            tokens_per_second=total["tokens"] / elapsed,
            inputs_per_batch=total["inputs"] / batches,
            padding_ratio=total["padding_tokens"] / max(1.0, total["tokens"] + total["padding_tokens"]),
            busy_ratio=min(1.0, total["busy_seconds"] / elapsed / self._batcher.workers),
            reasons={str(reason): total[reason] / batches for reason in Reason},
        )


def _history(counts: Mapping[str, NDArray[np.float64]], now: float) -> list[Column]:
    # Columns begin at multiples of their width, so that a column does not change once it is past.
    begins = range(-(int(now) + 1) % COLUMN, SECONDS, COLUMN)
    by_column = {name: np.add.reduceat(counts[name], begins).astype(int).tolist() for name in REQUESTS}
    columns = zip(*(by_column[name] for name in REQUESTS), strict=True)
    return [Column(requests, failed, busy + wrong) for requests, failed, busy, wrong in columns]


def _gpu_trouble(status: "GpuStatus") -> str | None:
    ordinary = status.state == "ready" or (status.state in NO_GPU and not status.devices)
    return None if ordinary else f"{status.state.replace('_', ' ')}: {status.reason}"


def _gpu(device: "DeviceStatus") -> Gpu:
    values = {sample.metric: sample.value for sample in device.samples}
    return Gpu(
        name=f"{device.gpu} {device.name}".strip(),
        uuid=device.uuid,
        up=device.up,
        reason=device.reason,
        utilization_ratio=values.get("gpu_utilization_ratio"),
        memory_used_bytes=values.get("gpu_memory_used_bytes"),
        memory_total_bytes=values.get("gpu_memory_total_bytes"),
        temperature_celsius=values.get("gpu_temperature_celsius"),
        power_watts=values.get("gpu_power_watts"),
        power_limit_watts=values.get("gpu_power_limit_watts"),
    )
