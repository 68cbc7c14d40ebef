"""Ten thousand requests that nobody would send on purpose, to the real server with the real model."""

import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.live.conftest import Server, Start

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ROUTES = ["/v1/embeddings", "/v1/rerank", "/embed", "/predict", "/rerank", "/"]
ROUTES += ["/v2/models/all-MiniLM-L6-v2/infer"]
FIELDS = ["model", "input", "inputs", "encoding_format", "dimensions", "query", "texts", "documents", "top_n"]
FIELDS += ["truncate", "normalize", "id", "parameters", "name", "shape", "datatype", "data", "outputs"]

SCHEMATHESIS_EXAMPLES = 120
HYPOTHESIS_EXAMPLES = 4000
RAW_REQUESTS = 3000

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text()
names = st.sampled_from(FIELDS) | st.text(max_size=5)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)
NASTY = [
    b"",
    b'{"inputs": "\\ud800"}',
    b'{"inputs": "\\u0000"}',
    b'{"inputs": NaN}',
    b'{"inputs": 1e999}',
    b'{"inputs": "a", "inputs": 1}',
    b"[" * 5000,
    b'{"inputs":' * 3000,
    b'{"inputs": "' + b"a" * 100_000 + b'"}',
    b"\xff\xfe{}",
]
bodies = documents.map(orjson.dumps) | st.binary(max_size=200) | st.sampled_from(NASTY)


@pytest.fixture
def server(start: Start, minilm: Path) -> Iterator[Server]:
    """A server that has survived when the test ends, with nothing in its log to be ashamed of."""
    server = start(APP_MODEL=str(minilm)).wait_until_ready()
    yield server
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/embed", b'{"inputs": "still here"}', {"content-type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()
    server.terminate()
    assert server.wait() == 0
    assert not [line for line in server.events("request") if line["status"] >= 500]
    assert not [
        line for line in server.lines if line["level"] in {"error", "critical"} or "exception" in line
    ]
    assert server.errors == []


def test_bodies_from_hypothesis(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)

    @settings(
        max_examples=HYPOTHESIS_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(ROUTES), bodies)
    def ask(route: str, body: bytes) -> None:
        connection.request("POST", route, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status < 500
        if reply.status != 200:
            assert "error" in orjson.loads(text)
            assert len(text) < 1000

    ask()
    connection.close()


def test_the_openapi_document_taken_at_its_word(server: Server) -> None:
    run = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json"),
            *("--max-examples", str(SCHEMATHESIS_EXAMPLES), "--generation-deterministic", "--no-color"),
            "--checks=not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    generated = re.search(r"(\d+) generated", run.stdout)
    assert generated
    print(f"\nschemathesis: {generated[1]} requests")
    assert int(generated[1]) > 3000


def test_raw_bytes(server: Server) -> None:
    chaos = random.Random(11)
    good = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n"
    good += b'{"inputs": "a"}'
    for _ in range(RAW_REQUESTS):
        message = bytearray(good)
        for _ in range(chaos.randint(1, 12)):
            place = chaos.randrange(len(message))
            match chaos.randrange(4):
                case 0:
                    message[place] = chaos.randrange(256)
                case 1:
                    del message[place : place + chaos.randint(1, 20)]
                case 2:
                    message[place:place] = chaos.randbytes(chaos.randint(1, 20))
                case _:
                    message[place:place] = chaos.choice(
                        [b"\r\n", b": ", b"\r\n\r\n", b"%", b"chunked", b"\0"]
                    )
            message = message or bytearray(b"\n")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            reply = b""
            try:
                while part := connection.recv(65536):
                    reply += part
            except ConnectionResetError:
                pass
        for status in re.findall(rb"^HTTP/1.1 (\d)", reply, re.MULTILINE):
            assert int(status) < 5, (bytes(message), reply)
