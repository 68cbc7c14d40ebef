"""The service, Prometheus and Alertmanager on loopback, with the rules of the cluster."""
