"""What stands between the socket and the application: limits that uvicorn lacks, API keys, readable bodies.

`protocol` guards the connection and `auth` and `body` are ASGI middleware, in that order: a caller without a
key is turned away before the body is read. `disconnect` tells a route that its caller has gone.
"""
