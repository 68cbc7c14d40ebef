"""The layers in the order of the walk, from what is needed first to what stands on all the others.

One more layer is one more `Check` here: a name, and a function from the scope to what was found.
"""

from app.doctor import (
    address,
    alertmanager,
    configuration,
    device,
    model,
    port_chain,
    programs,
    prometheus,
    service,
    traces,
)
from app.doctor.scope import Scope
from app.doctor.walk import Check

LAYERS: tuple[Check[Scope], ...] = (
    Check(
        "programs",
        "Are the programs that are installed what their names say, and do they run?",
        programs.look,
    ),
    Check("settings", "Would a service that is started here take its settings?", configuration.look),
    Check("model", "Are the model's files whole, and the ones that are meant?", model.look, needs="settings"),
    Check("device", "Does the GPU's driver answer, and is the device there?", device.look, needs="settings"),
    Check("address", "Can both ports be bound, where callers reach them?", address.look, needs="settings"),
    Check("manifests", "Does each port lead from route and Service to a process?", port_chain.look),
    Check("service", "Does Vitrine answer at its address?", service.look_service),
    Check("health", "Is it live, started and ready?", service.look_health, needs="service"),
    Check(
        "answer", "Does it answer a real request?", service.look_answer, needs="service", after=("health",)
    ),
    Check("metrics", "Does its operations port show its metrics?", service.look_metrics, after=("service",)),
    Check("prometheus", "Is Prometheus there, on its newest configuration?", prometheus.look_prometheus),
    Check(
        "targets",
        "Does Prometheus scrape the service, and all else?",
        prometheus.look_targets,
        needs="prometheus",
        after=("metrics",),
    ),
    Check("rules", "Are the rules loaded, and do they evaluate?", prometheus.look_rules, needs="prometheus"),
    Check(
        "alertmanager", "Is Alertmanager there, on its newest configuration?", alertmanager.look_alertmanager
    ),
    Check(
        "alerts",
        "Do alerts come through, as Watchdog must?",
        alertmanager.look_alerts,
        needs="alertmanager",
        after=("rules",),
    ),
    Check("collector", "Does the collector take spans?", traces.look_collector),
    Check(
        "traces",
        "Do the service's spans arrive?",
        traces.look_traces,
        needs="metrics",
        after=("collector", "answer"),
    ),
)
