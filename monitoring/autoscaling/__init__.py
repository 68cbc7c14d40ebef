"""The autoscaler's target and behaviour: written into the manifests, and simulated to choose them."""
