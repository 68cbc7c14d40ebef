"""GPU telemetry: what NVML says of each device, sampled in the background and served from memory."""

from app.telemetry.gpu.collector import GpuTelemetry
from app.telemetry.gpu.status import DeviceStatus, GpuState, GpuStatus, Sample

__all__ = ["DeviceStatus", "GpuState", "GpuStatus", "GpuTelemetry", "Sample"]
