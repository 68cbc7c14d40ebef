"""Asks the operations port whether the service is ready: exit code 0 if so.

For container engines, that ask every few seconds: the standard library only, so that it costs them little.
"""

import os
import socket

TIMEOUT = 2.0


def is_ready(host: str, port: int) -> bool:
    """Whether `/readyz` there answers 200. What listens on every address (0.0.0.0) is reached by it too."""
    try:
        with socket.create_connection((host, port), TIMEOUT) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n")
            return connection.recv(12).endswith(b" 200")
    except OSError:
        return False


if __name__ == "__main__":
    ready = is_ready(os.environ.get("APP_OPS_HOST", "127.0.0.1"), int(os.environ.get("APP_OPS_PORT", "9000")))
    raise SystemExit(0 if ready else 1)
