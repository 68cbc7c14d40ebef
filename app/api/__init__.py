"""HTTP: one module per protocol, its schemas beside its routes. `app.api.app` puts them together."""
