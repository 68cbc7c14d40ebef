"""Grafana's dashboards as code, through the typed builders of grafana-foundation-sdk."""
