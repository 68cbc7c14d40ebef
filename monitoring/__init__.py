"""Monitoring as code: what follows from `slo.yaml`, and the proof that the alerts work."""
