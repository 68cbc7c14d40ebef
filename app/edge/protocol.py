"""uvicorn's HTTP protocol with limits on what a connection may send, and on how long it may take.

What is refused here the application does not answer, and mostly has not heard of: the client gets a JSON
reply, and after it the connection is closed. It is logged, with nothing in it that the client sent.
"""

import asyncio
import logging
from contextvars import Context
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, cast
from urllib.parse import unquote

import httptools
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.edge.cycle import Answer, Cycle
from app.edge.disconnect import EXTENSION, Client
from app.edge.limits import EdgeLimits
from app.edge.patience import Patience, Waiting
from app.edge.replies import INVALID_TARGET, NO_TUNNEL, LimitReplies, Refusal, Refused, malformed

logger = logging.getLogger(__name__)


class Shed(Protocol):
    """Answers requests in the application's place. An object and no function, which would become a method."""

    def __call__(self, scope: Scope) -> Answer | None:
        """None if the application is to answer."""
        ...


def edge_protocol(limits: EdgeLimits, shed: Shed | None = None) -> type[asyncio.Protocol]:
    """The class for `uvicorn.Config(http=…, ws="none")`; its `idle_timeout` replaces `timeout_keep_alive`.

    `shed` is asked for an answer to each request before the application is.
    """

    class LimitedProtocol(EdgeProtocol):
        pass

    LimitedProtocol.limits = limits
    LimitedProtocol.shed = shed
    LimitedProtocol.replies = LimitReplies(limits)
    return LimitedProtocol


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    limits: ClassVar[EdgeLimits]
    replies: ClassVar[LimitReplies]
    shed: ClassVar[Shed | None] = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""
        self.headers = []
        self._client = Client()
        self._extensions: dict[str, Any] = {EXTENSION: self._client}
        self._running: RequestResponseCycle | None = None
        self._starting: RequestResponseCycle | None = None
        """Its head is complete, and it is the next to run."""
        self._patience = Patience(self.loop, self._waiting)
        self._refusal: Refusal | None = None
        self._refused = False  # the refusal has been sent
        self._chunk_bytes = 0
        self._head_open = False  # a head has begun in an earlier chunk
        self._head_bytes = 0
        self._body_new = False  # its head ended in this chunk
        self._content_seen = False  # this chunk had more of a body in it than its framing
        self._framing_bytes = 0  # chunk sizes and trailers since the last content

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take a new connection, if need be in place of an idle one."""
        super().connection_made(transport)
        self._patience.wait(self.limits.header_timeout)
        if len(self.connections) > self.limits.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that its client has gone."""
        self._patience.end()
        self._client.leave()
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells only the last request of a pipeline, and this one would write to a closed socket.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client time to read."""
        super().pause_writing()
        self._patience.wait(self.limits.write_timeout)

    # What arrives. Where possible these do the work of uvicorn's methods instead of calling them, since they
    # run with every request.

    def data_received(self, data: bytes) -> None:
        """Parse the next chunk, of at most 256 KiB, and refuse what it makes too much."""
        if self._refusal is not None:
            return
        self._chunk_bytes = len(data)
        self._content_seen = False
        refusal = None
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._parse_without_offer(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            refusal = _explain(error)
        if self._starting is not None:
            # Not before: of a body that has come with its head no more is to be awaited.
            self._run(self._starting)
        if refusal is not None:
            self._refuse(refusal)
            return
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:  # type: ignore[redundant-expr]  # see _latest
            self._head_incomplete()
        elif cycle.more_body:
            self._body_incomplete()

    def on_headers_complete(self) -> None:
        """Check the head as a whole, and start the request."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Refused(NO_TUNNEL)
            return  # to be parsed again, without the offer
        limits = self.limits
        if len(self.url) > limits.max_target_bytes:
            raise Refused(self.replies.target_too_long)
        if len(self.headers) > limits.max_header_count:
            raise Refused(self.replies.too_many_headers)
        if (self._head_open or self._chunk_bytes > limits.max_header_bytes) and self._head_too_large():
            raise Refused(self.replies.headers_too_large)
        if len(self.pipeline) >= limits.max_pipelined:
            raise Refused(self.replies.too_many_pipelined)
        self._begin()
        self.headers = []  # for a chunked body's trailers, which must not join the headers that were checked
        self._head_open = False
        self._body_new = True

    def _begin(self) -> None:
        """Start the request, or have it wait for those before it."""
        target = httptools.parse_url(self.url)
        path = target.path.decode("ascii")
        version = self.parser.get_http_version()
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = target.path
        self.scope["query_string"] = target.query or b""
        self.scope["extensions"] = self._extensions
        before = self._latest
        self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._starting = self.cycle
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Keep the next part of the body, unless the request is already answered."""
        self._content_seen = True
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The body is complete."""
        if not self.parser.should_upgrade():
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on to the next request, or to the refusal that waited for this answer."""
        self.server_state.total_requests += 1
        self._patience.begin()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._run(self.pipeline.pop()[0])
        elif self._refusal is not None:
            self._send(self._refusal)
        elif self.cycle.more_body:
            self._patience.wait(self.limits.linger)

    def _run(self, cycle: RequestResponseCycle) -> None:
        self._running = cycle
        self._starting = None
        if answer := self._shed(cycle):
            cast(Cycle, cycle).answer(answer)
            # As `run_asgi` does, which such a request never sees: else the two would hold each other.
            cycle.on_response = lambda: None
            cycle.body = bytearray()
        else:
            self._start_asgi_task(cycle, self.app)

    def _shed(self, cycle: RequestResponseCycle) -> Answer | None:
        # A client that does not read is the application's, whose `send` waits for it.
        if self.shed is None or self.flow.write_paused:
            return None
        # In a context of its own, since this may be run by the task of the request before it.
        return Context().run(self.shed, cast(Scope, cycle.scope))

    # What only some requests need.

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The last request whose head is complete; uvicorn's own declaration leaves the None out."""
        return self.cycle

    @property
    def _in_flight(self) -> bool:
        return (cycle := self._latest) is not None and not cycle.response_complete

    def _parse_without_offer(self, rest: bytes) -> None:
        """Parse a request again that offered to upgrade; `rest` is what follows its headers.

        A server may ignore the offer (RFC 9110, section 7.8), but llhttp has skipped the body, and Java's
        HttpClient offers h2c with each POST.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        data = b"\r\n".join([*lines, b"", rest])
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._parse_without_offer(data[offer.args[0] :])

    def _head_incomplete(self) -> None:
        if self._head_open:
            self._head_bytes += self._chunk_bytes
        else:
            # Not counted: the chunk in which a head begins may hold the end of another request.
            self._head_open = True
            self._head_bytes = 0
            if self._latest is not None:
                self._patience.wait(self.limits.header_timeout)
        if len(self.url) > self.limits.max_target_bytes:
            self._refuse(self.replies.target_too_long)
        elif self._head_too_large():
            self._refuse(self.replies.headers_too_large)

    def _body_incomplete(self) -> None:
        if self._body_new:
            self._body_new = False
            self._framing_bytes = 0
            self._client.late = False
            self._patience.wait(self.limits.body_timeout)
        elif self._content_seen:
            self._framing_bytes = 0
        else:
            self._framing_bytes += self._chunk_bytes
            if self._framing_bytes > self.limits.max_header_bytes:
                self._refuse(self.replies.headers_too_large)

    def _body_late(self) -> None:
        if self._client.late:
            self._refuse(self.replies.body_too_slow)  # the application doesn't care
            return
        self._client.late = True
        self.cycle.message_event.set()  # `receive` returns what there is
        self._patience.look_in(self.limits.linger)

    def _head_too_large(self) -> bool:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return max(size, self._head_bytes) > self.limits.max_header_bytes

    def _make_room(self) -> None:
        connections = [other for other in self.connections if isinstance(other, EdgeProtocol)]
        idle = {other: since for other in connections if (since := other.idle_since()) is not None}
        if idle:
            min(idle, key=idle.__getitem__).shutdown()
        else:
            self._refuse(self.replies.too_many_connections)

    def idle_since(self) -> float | None:
        """When the connection was last of use (by the loop's clock), or None while it is."""
        answered = self._latest is not None and not self._in_flight and not self._head_open
        return (
            self._patience.since if (answered or self._refused) and not self.transport.is_closing() else None
        )

    def _waiting(self) -> Waiting:
        # Nothing is to be done while the application has the turn.
        limits = self.limits
        cycle = self._latest
        if self.transport.is_closing() or self.flow.write_paused:
            return limits.write_timeout, self.transport.abort
        if self._refused:
            return limits.linger, self._close
        if cycle is not None and not cycle.response_complete:
            if cycle.more_body and not self.pipeline:
                return limits.body_timeout, self._body_late
            return limits.header_timeout, None
        if self._head_open:
            return limits.header_timeout, partial(self._refuse, self.replies.headers_too_slow)
        if cycle is None:
            return limits.header_timeout, self._close
        return (limits.linger if cycle.more_body else limits.idle_timeout), self._close

    def _refuse(self, refusal: Refusal) -> None:
        """Read no more, answer what was understood, then send `refusal` and close."""
        logger.info("http_refused", extra={"status": int(refusal.status), "code": refusal.code})
        self._refusal = refusal
        cycle = self._latest
        if cycle is not None and cycle.more_body and cycle.scope is self.scope:  # a body is what is wrong
            if self.pipeline:
                self.pipeline.popleft()  # it waits behind another request
            elif cycle.response_started:
                self._close()
                return
            else:
                cycle.disconnected = cycle.response_complete = True
                cycle.message_event.set()
        if not self._in_flight:
            self._send(refusal)

    def _send(self, refusal: Refusal) -> None:
        self.transport.write(refusal.http1(self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._refused = True
        if refusal.status is HTTPStatus.REQUEST_TIMEOUT:
            self._close()  # nothing is on its way that a reset could meet
        else:
            self._patience.wait(self.limits.linger)

    def _close(self) -> None:
        self.transport.close()
        self._patience.wait(self.limits.write_timeout)  # what is already written may still be taken


def _explain(error: httptools.HttpParserError) -> Refusal:
    cause = error.__context__
    if isinstance(cause, Refused):
        return cause.refusal
    if isinstance(error, httptools.HttpParserInvalidURLError | httptools.HttpParserCallbackError):
        return INVALID_TARGET  # of our callbacks, only the one that takes the target apart can fail
    return malformed(str(error))
