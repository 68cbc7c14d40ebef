"""The composition root: the only place that knows all the parts."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from app import __version__
from app.admission import Admission, AdmissionLimits
from app.api.app import build_api, build_ops
from app.api.dispatch import Dispatch
from app.api.shedding import LoadShedding
from app.batcher import Batcher
from app.batching import BatchLimits
from app.console.pages import build_console
from app.console.rates import Rates
from app.console.ring import Ring
from app.console.state import StateReader
from app.edge.auth import ApiKeyMiddleware, ApiKeys
from app.edge.body import BodyMiddleware
from app.edge.protocol import Shed
from app.health import Health
from app.inference import Inference
from app.lifecycle import Lifecycle
from app.models.folder import locate
from app.models.runner import ModelRunner, Task
from app.observer import FanOut, Observer
from app.settings import Settings
from app.telemetry.deferred import Deferred
from app.telemetry.exposition import metrics_route
from app.telemetry.gpu import GpuTelemetry
from app.telemetry.http import PROBES, HttpTelemetry
from app.telemetry.logs import LogObserver
from app.telemetry.metrics import MetricsObserver, StateCollector
from app.telemetry.tracing import Tracing
from app.tokenizing import Tokenizing


@dataclass(frozen=True, slots=True)
class App:
    """The wired service: an ASGI application for each port, and the model behind them."""

    settings: Settings
    api: ASGIApp
    shed: Shed
    """Answers in the API's place while the server is overloaded."""
    ops: ASGIApp
    health: Health
    runner: ModelRunner
    batcher: Batcher
    lifecycle: Lifecycle
    deferred: Deferred
    tracing: Tracing
    gpu: GpuTelemetry

    @asynccontextmanager
    async def telemetry(self) -> AsyncIterator[None]:
        """Watch the GPUs; on leaving, send the last spans. Each ends within a deadline of its own."""
        self.gpu.start()
        try:
            yield
        finally:
            self.deferred.catch_up()
            await asyncio.to_thread(self.gpu.close)
            await self.tracing.close()


def create_app(
    settings: Settings, *, runner: ModelRunner | None = None, observer: Observer | None = None
) -> App:
    """Wire the service. Tests pass a runner and an observer of their own; nothing else differs."""
    if runner is None:
        # Imported here, since torch takes seconds and wrong settings are to be told at once.
        from app.models.torch_runner import TorchRunner

        runner = TorchRunner(
            locate(settings.model),
            name=settings.public_name,
            revision=settings.model_revision,
            task="auto" if settings.task == "auto" else Task(settings.task),
            device=settings.device,
            dtype=settings.dtype,
            threads=settings.threads,
            max_batch_tokens=settings.max_batch_tokens,
        )
    tracing = Tracing(version=__version__, flush_timeout=settings.telemetry.flush_timeout)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = MetricsObserver(
        registry, model=settings.public_name, max_batch_inputs=settings.batching.max_inputs
    )
    ring, rates = Ring(), Rates()
    logs = LogObserver(
        sample_ratio=settings.telemetry.log_sample_ratio,
        slow=settings.telemetry.log_slow,
        refusals=settings.telemetry.log_refusals,
    )
    told_later = [*tracing.observers, metrics, ring, rates]
    deferred = Deferred(FanOut(told_later if observer else [*told_later, logs]))
    observer = FanOut([deferred, observer]) if observer else deferred
    batcher = Batcher(
        runner,
        BatchLimits(settings.batching.max_inputs, settings.max_batch_tokens, settings.batching.max_padding),
        observer,
        model=settings.public_name,
        hang_timeout=settings.batching.hang_timeout,
    )
    gpu = GpuTelemetry(interval=settings.telemetry.gpu_interval, deadline=settings.telemetry.gpu_deadline)
    registry.register(gpu)
    health = Health(
        last_success=lambda: batcher.snapshot().last_success, success_within=3 * settings.canary_interval
    )
    health.require(lambda: _gpu_lost(gpu, runner))
    admission = Admission(
        AdmissionLimits(
            max_request_inputs=settings.admission.max_request_inputs,
            max_inputs=settings.admission.max_inputs,
            max_tokens=settings.max_queue_tokens,
            max_bytes=settings.admission.max_bytes,
            max_wait=settings.admission.max_wait,
        ),
        ahead_of=batcher.ahead_of,
        predict=batcher.predict,
    )
    thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
    inference = Inference(
        runner,
        Tokenizing(runner, thread, admission.backlog_seconds),
        batcher,
        admission,
        observer,
        name=settings.public_name,
        truncate=settings.truncate,
        refusal=health.refusal,
    )
    lifecycle = Lifecycle(
        runner,
        batcher,
        health,
        thread,
        canary_interval=settings.canary_interval,
        patience=settings.batching.hang_timeout,
    )
    api = build_api(inference, health, settings, version=__version__)
    dispatch = Dispatch(api, model=settings.public_name)
    layers: ASGIApp = BodyMiddleware(dispatch, settings.edge)
    keys = ApiKeys([key.get_secret_value() for key in settings.api_keys]) if settings.api_keys else None
    if keys:
        layers = ApiKeyMiddleware(layers, keys, exempt=PROBES)
    # What nobody expects is answered and then raised again, for the log; FastAPI does so for its own part.
    layers = ServerErrorMiddleware(layers, handler=api.exception_handlers[Exception])
    layers = tracing.server_spans(layers, deferred.later)
    outermost = HttpTelemetry(layers, api, observer=observer, timeout=settings.request_timeout)
    shed = LoadShedding(dispatch.routes, inference, observer, admits=keys.accept if keys else None)
    registry.register(
        StateCollector(
            model=settings.public_name,
            version=__version__,
            runner=runner,
            batcher=batcher,
            admission=admission,
            slo_wait=settings.admission.slo_wait,
            health=health,
            lifecycle=lifecycle,
            active_requests=lambda: outermost.active,
            spans=tracing.counts,
        )
    )
    state = StateReader(
        name=settings.public_name,
        version=__version__,
        health=health,
        runner=runner,
        batcher=batcher,
        admission=admission,
        slo_wait=settings.admission.slo_wait,
        rates=rates,
        gpu=gpu.status,
    )
    console = build_console(ring, state, trace_ui=settings.trace_ui_url)
    ops = deferred.caught_up(build_ops(health, [metrics_route(registry), Mount("/", console)]))
    return App(settings, outermost, shed, ops, health, runner, batcher, lifecycle, deferred, tracing, gpu)


def _gpu_lost(gpu: GpuTelemetry, runner: ModelRunner) -> str | None:
    """A lost GPU is a reason to be unready only for a model that runs on one."""
    if not runner.info.device.startswith("cuda"):
        return None
    healthy, reason = gpu.healthy()
    return None if healthy else reason
