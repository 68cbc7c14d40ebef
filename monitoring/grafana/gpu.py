"""The devices, as NVML tells them."""

from collections.abc import Mapping

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.alerts import Alert
from monitoring.grafana.board import INSTANCE, NAMESPACE, Row, board
from monitoring.grafana.panels import GREEN, RED, Query, State, graph, states
from monitoring.grafana.queries import OF_INSTANCES, OF_SERVICE, increase, rate, series
from monitoring.slo import Slo

UID = "vitrine-gpu"
DEVICE = "{{instance}} GPU {{gpu}}"
UP_OR_LOST = {"1": State("up", GREEN), "0": State("lost", RED)}


def dashboard(slo: Slo, alerts: Mapping[str, Alert]) -> Dashboard:
    """For whoever owns the devices."""
    return board(
        UID,
        "GPU",
        "Health, load and cost of the GPUs. Empty where no instance has one.",
        [NAMESPACE, INSTANCE],
        [_health(alerts), _load(alerts), _limits(alerts), _cost()],
        slo,
    )


def _health(alerts: Mapping[str, Alert]) -> Row:
    xid = series("gpu_xid_errors_total", OF_INSTANCES)
    return Row(
        "Are the devices well?",
        [
            states(
                "Devices",
                "Whether each device answers. Lost: cordon the node and look for an Xid in its kernel log. "
                "An instance that should have a GPU and is missing here cannot load NVML.",
                Query(series("gpu_up", OF_INSTANCES), DEVICE),
                names=UP_OR_LOST,
                alert=alerts["GpuLost"],
            ),
            graph(
                "Xid errors",
                "Faults that the driver reported. 13, 31 and 43 point at the application; 48, 63, 64, 74, "
                "79, 94 and 95 at the hardware.",
                # A series that is born with its first error shows no increase.
                Query(
                    f"{increase('gpu_xid_errors_total', OF_INSTANCES)} or ({xid} unless {xid} offset "
                    "$__rate_interval)",
                    f"{DEVICE} Xid {{{{xid}}}}",
                ),
                unit=units.Short,
                alert=alerts["GpuXidErrors"],
            ),
            graph(
                "Memory errors",
                "ECC errors. Corrected ones do no harm; after an uncorrected one answers may be wrong: take "
                "the pod off the device.",
                Query(increase("gpu_ecc_errors_total", OF_INSTANCES), f"{DEVICE} {{{{kind}}}}"),
                unit=units.Short,
                alert=alerts["GpuUncorrectedEcc"],
            ),
            states(
                "Remapped rows",
                "pending: the device waits for a reset to remap a row. failed: no spare row is left, replace "
                "the board.",
                Query(
                    series("gpu_remapped_rows", OF_INSTANCES, 'kind=~"pending|failed"'),
                    f"{DEVICE} {{{{kind}}}}",
                ),
                names={"0": State("no", GREEN), "1": State("yes", RED)},
            ),
            graph(
                "Age of the readings",
                "Seconds since NVML last answered. Growing: a hanging driver, which often comes before a "
                "lost device.",
                Query(
                    f"time() - {series('gpu_collect_last_success_timestamp_seconds', OF_INSTANCES)}",
                    "{{instance}}",
                ),
                unit=units.Seconds,
                alert=alerts["GpuMetricsStale"],
            ),
            graph(
                "PCIe replays",
                "Packets that had to be sent again. More than a few: the board sits badly, or its riser is "
                "bad.",
                Query(increase("gpu_pcie_replays_total", OF_INSTANCES), DEVICE),
                unit=units.Short,
            ),
        ],
    )


def _load(alerts: Mapping[str, Alert]) -> Row:
    used, total = (series(f"gpu_memory_{kind}_bytes", OF_INSTANCES) for kind in ("used", "total"))
    return Row(
        "Are they busy?",
        [
            graph(
                "Utilization",
                "Share of the time in which a kernel runs. Low under load: the device waits for the CPU, see "
                "stages tokenize and queue. High says nothing about how well the kernel fills the device.",
                Query(series("gpu_utilization_ratio", OF_INSTANCES), DEVICE),
                unit=units.PercentUnit,
                width=6,
                top=1,
            ),
            graph(
                "Memory activity",
                "Share of the time in which memory is read or written: how busy it is, not how full. Near "
                "100 %: the model is bound by memory, and larger batches are nearly free.",
                Query(series("gpu_memory_utilization_ratio", OF_INSTANCES), DEVICE),
                unit=units.PercentUnit,
                width=6,
                top=1,
            ),
            graph(
                "Memory",
                "Memory in use. Above the dashed line the next large batch may fail: lower "
                "APP_MAX_BATCH_TOKENS, or see who shares the device.",
                Query(f"{used} / {total}", DEVICE),
                unit=units.PercentUnit,
                width=6,
                alert=alerts["GpuMemoryHigh"],
                top=1,
            ),
            graph(
                "Bus",
                "Bytes a second over PCIe. Texts and vectors are small: much traffic means that weights or "
                "batches move back and forth.",
                Query(rate("gpu_pcie_bytes_total", OF_INSTANCES), f"{DEVICE} {{{{direction}}}}"),
                unit=units.BytesPerSecondIEC,
                width=6,
            ),
        ],
    )


def _limits(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "What holds them back?",
        [
            graph(
                "Clocks",
                "Clocks of the multiprocessors and of the memory. Falling under load: see the reasons "
                "beside.",
                Query(series("gpu_sm_clock_hertz", OF_INSTANCES), f"{DEVICE} SM"),
                Query(series("gpu_memory_clock_hertz", OF_INSTANCES), f"{DEVICE} memory"),
                unit=units.Hertz,
                width=6,
                alert=alerts["GpuThrottled"],
            ),
            states(
                "Why clocks are held down",
                "Each slowdown is heat or a weak power supply. sw_power_cap is usual under full load, "
                "gpu_idle without.",
                Query(
                    series("gpu_clocks_event_reason", OF_INSTANCES, 'reason!="gpu_idle"'),
                    f"{DEVICE} {{{{reason}}}}",
                ),
                names={"0": State("no", GREEN), "1": State("yes", RED)},
                width=6,
                alert=alerts["GpuThrottled"],
            ),
            graph(
                "Temperature",
                "Near 90 °C devices lower their clocks; see the reasons beside for whether this one does.",
                Query(series("gpu_temperature_celsius", OF_INSTANCES), DEVICE),
                unit=units.Celsius,
                width=6,
                alert=alerts["GpuThrottled"],
            ),
            graph(
                "Power",
                "What the board draws, and its limit. At the limit it runs as fast as it may; far below "
                "under load, it waits.",
                Query(series("gpu_power_watts", OF_INSTANCES), DEVICE),
                Query(series("gpu_power_limit_watts", OF_INSTANCES), f"{DEVICE} limit"),
                unit=units.Watt,
                width=6,
            ),
        ],
    )


def _cost() -> Row:
    of_all = "All instances together; several that share a device count it once."
    return Row(
        "What does it cost?",
        [
            graph(
                "Energy per 1,000 tokens",
                f"To compare versions, batch limits and devices by: less is better. {of_all}",
                Query(series("job:gpu_energy_joules_per_kilotoken:ratio_rate5m", OF_SERVICE), "energy"),
                unit=units.Joule,
                width=12,
            ),
            graph(
                "GPU seconds per 1,000 tokens",
                f"Busy seconds of a device; times its price, the cost of the work. {of_all}",
                Query(series("job:gpu_seconds_per_kilotoken:ratio_rate5m", OF_SERVICE), "GPU time"),
                unit=units.Seconds,
                width=12,
            ),
        ],
    )
