"""Every `gpu_*` metric: its kind, label and help text, and the samples turned into metric families.

Each series carries `gpu` (NVML's index; `0:1` is MIG instance 1 of GPU 0, as in NVIDIA_VISIBLE_DEVICES),
`uuid` and `device_name`. A GPU has at most 50 series. Of a MIG instance (at most seven a GPU) NVML tells the
memory only: 3 series. A sum over GPUs needs `uuid=~"GPU-.*"`, or it counts the instances' memory twice.

Per 1,000 tokens, for recording rules (`max by (uuid)` since several pods may see one GPU):

    1000 * sum(max by (uuid) (rate(gpu_energy_joules_total[5m])))
      / (sum(rate(inference_tokens_total{kind="real"}[5m])) > 0)
    1000 * sum(max by (uuid) (avg_over_time(gpu_utilization_ratio[5m])))
      / (sum(rate(inference_tokens_total{kind="real"}[5m])) > 0)
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from app.telemetry.gpu.status import XID_METRIC, DeviceStatus, GpuStatus

Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name and help text, and its own label beside the device's three."""

    name: str
    help: str
    label: str | None = None

    def family(self) -> Family:
        """An empty family: a counter where the name says `_total`, else a gauge."""
        labels = ["gpu", "uuid", "device_name", *([self.label] if self.label else [])]
        if self.name.endswith("_total"):
            return CounterMetricFamily(self.name, self.help, labels=labels)
        return GaugeMetricFamily(self.name, self.help, labels=labels)


UP = Metric("gpu_up", "1 if the device answers, 0 if it is lost or the driver does not answer.")

METRICS = (
    Metric(
        "gpu_utilization_ratio", "Share of the driver's sample period (1/6 to 1 s) in which a kernel ran."
    ),
    Metric("gpu_memory_used_bytes", "Device memory allocated, without the driver's own reserve."),
    Metric("gpu_memory_total_bytes", "Device memory installed."),
    Metric(
        "gpu_memory_utilization_ratio",
        "Share of the driver's sample period in which device memory was read or written: how busy it is, not"
        " how full (NVML's memory-controller utilization).",
    ),
    Metric("gpu_temperature_celsius", "Temperature of the GPU's die."),
    Metric("gpu_power_watts", "Power drawn by the whole board (a mean over 1 s from Ampere on)."),
    Metric("gpu_power_limit_watts", "Power limit that the driver enforces, the lowest of all limits set."),
    Metric("gpu_energy_joules_total", "Energy used since the driver was loaded."),
    Metric("gpu_sm_clock_hertz", "Clock of the streaming multiprocessors."),
    Metric("gpu_memory_clock_hertz", "Clock of the device memory."),
    Metric("gpu_clocks_event_reason", "1 if this reason holds the clocks down now.", "reason"),
    Metric("gpu_ecc_errors_total", "Memory errors that ECC found since the driver was loaded.", "kind"),
    Metric(
        "gpu_remapped_rows",
        "Memory rows remapped after corrected and uncorrected errors;"
        " for pending (a reset will remap) and failed (none is left), 1 is yes and 0 is no.",
        "kind",
    ),
    Metric(
        XID_METRIC,
        "XID errors that the driver reported since this process began to watch;"
        " codes without a series of their own count as other, and the log has their number.",
        "xid",
    ),
    Metric(
        "gpu_pcie_bytes_total",
        "PCIe traffic seen from the GPU, headers included, since this process began to watch. The hardware"
        " counts in 32 bits: more than 4 GiB between two samples is undercounted.",
        "direction",
    ),
    Metric("gpu_pcie_replays_total", "PCIe packets that had to be sent again."),
)

LAST_SUCCESS = ("gpu_collect_last_success_timestamp_seconds", "When the driver was last read to the end.")


def declarations() -> Iterator[Family]:
    """Every family without samples, so that a registry knows the names without asking for values."""
    for metric in (UP, *METRICS):
        yield metric.family()
    yield GaugeMetricFamily(*LAST_SUCCESS)


def families(status: GpuStatus) -> Iterator[Family]:
    """The families that have a sample in `status`: what no device supports is not even named."""
    if status.devices:
        up = UP.family()
        for device in status.devices:
            up.add_metric(_labels(device), float(device.up))
        yield up

    series: dict[str, list[tuple[list[str], float]]] = defaultdict(list)
    for device in status.devices:
        for sample in device.samples:
            own_label = [sample.label] if sample.label else []
            series[sample.metric].append((_labels(device) + own_label, sample.value))
    for metric in METRICS:
        if metric.name in series:
            family = metric.family()
            for labels, value in series[metric.name]:
                family.add_metric(labels, value)
            yield family

    if status.last_success is not None:
        yield GaugeMetricFamily(*LAST_SUCCESS, value=status.last_success)


def _labels(device: DeviceStatus) -> list[str]:
    return [device.gpu, device.uuid, device.name]
