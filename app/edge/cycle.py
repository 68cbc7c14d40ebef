"""uvicorn's request and answer, but an answer of known length is written in one go.

uvicorn writes head and body apart: two system calls, and a client that is woken twice.
"""

from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Answer(NamedTuple):
    """A response whose body is known."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """With a content-length. Names are in lower case."""
    body: bytes


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    _start: Any = None
    """The answer's head, while it waits for its body."""

    async def send(self, message: Any) -> None:
        """The ASGI interface."""
        # The head waits for the body: if none of that length comes, the answer is uvicorn's 500 in its place.
        if message["type"] == "http.response.start" and not self.response_started and _has_length(message):
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            whole = message["type"] == "http.response.body" and not message.get("more_body")
            if whole and not self.disconnected and not self.flow.write_paused:
                self.answer(Answer(start["status"], start["headers"], message.get("body", b"")))
                return
            await super().send(start)
        await super().send(message)

    def answer(self, answer: Answer) -> None:
        """Write it, and go on to the next request. Raises RuntimeError if its headers are wrong."""
        body = answer.body
        head = [STATUS_LINE[answer.status]]
        length = None
        closes = not self.keep_alive
        for name, value in (*self.default_headers, *answer.headers):
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                closes = closes or b"close" in value.lower()
                continue
            head.append(b"%b: %b\r\n" % (name, value))
        if closes:
            self.keep_alive = False
            head.append(b"connection: close\r\n")
        data = b"".join(head)
        if data.count(b"\n") != len(head) or data.count(b"\r") != len(head) or b"\0" in data:
            raise RuntimeError("A header has a control character.")
        bodiless = self.scope["method"] == "HEAD"
        if length != len(body) and not bodiless:
            raise RuntimeError("The answer is not as long as its Content-Length says.")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.writelines([data, b"\r\n", b"" if bodiless else body])
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _has_length(start: Any) -> bool:
    return any(name == b"content-length" for name, _ in start.get("headers", ()))
