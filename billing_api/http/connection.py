"""One client connection. uvicorn limits only the time between requests; this limits all a client may let us wait for.

Every limit is for the whole of a thing, so a byte now and then wins nobody any time.
"""

import asyncio
import logging
import sys
from enum import Enum
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from billing_api.errors import (
    FieldError,
    HeadersTooLarge,
    InvalidRequest,
    Problem,
    RequestTimeout,
    ServiceUnavailable,
)
from billing_api.http import problems
from billing_api.http.connections import Connections
from billing_api.http.intake import Intake
from billing_api.http.lingering import LingeringTransport
from billing_api.http.wire import Wire

#: Room for a session, an idempotency key and what proxies add; a thousand half-sent heads are then 32 MiB.
MAX_HEAD_BYTES = 32 * 1024
#: A body of 64 KiB in parts of 30 bytes. Each part costs as much as a thousand bytes; of one byte each, a body would
#: cost the time of many requests.
MAX_FRAMING_BYTES = 16 * 1024

#: uvicorn's own, without its warnings about what clients send: anybody could fill the log with them. What is not HTTP
#: is counted, and told of once a minute.
_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.ERROR)


class Phase(Enum):
    """What the connection waits for."""

    IDLE = "the next request"
    HEAD = "the rest of a request line and headers"
    BODY = "the rest of a body"
    OURS = "our answer"
    CLOSING = "the client to hang up"


class Connection(H11Protocol):
    """HTTP/1.1 with limits. `server_state` is always a Connections."""

    server_state: Connections
    conn: Wire

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Wire(max_head_bytes=MAX_HEAD_BYTES)
        self.logger = _log
        self._phase = Phase.HEAD
        self._since = self._stalled_since = 0.0
        self._heard = False
        self._of: RequestResponseCycle | None = None
        self._intake: Intake

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: a first request is expected."""
        self._intake = Intake(transport, self._take)
        super().connection_made(LingeringTransport(transport, intake=self._intake, on_close=self._on_close))
        if self.server_state.admit(self):
            self._enter(Phase.HEAD)
        else:
            detail = "Too many connections are open; try again shortly"
            self.answer(ServiceUnavailable(detail, headers={"Retry-After": "5"}))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.server_state.forget(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Take what has come; of a connection that we have closed it is dropped."""
        if not self.transport.is_closing():
            self._intake.receive(data)

    def _take(self, part: bytes) -> None:
        if self.transport.is_closing():
            return
        self._heard = True
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        super().data_received(part)
        if self._phase is not Phase.CLOSING and self._is_mostly_framing():
            self._refuse_framing()
        self._follow()

    def _is_mostly_framing(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and self.conn.framing > MAX_FRAMING_BYTES

    def _refuse_framing(self) -> None:
        self.server_state.count("malformed")
        if self.cycle.response_complete:
            self.transport.close()
        else:
            detail = "body must be sent in larger chunks"
            self.answer(InvalidRequest(detail, errors=[FieldError("body", detail)]))

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._follow()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; h11's own words would repeat it, so they are not used."""
        self.server_state.count("malformed")
        if getattr(sys.exception(), "error_status_hint", 400) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            self.answer(HeadersTooLarge(f"Request line and headers must have at most {MAX_HEAD_BYTES} bytes"))
        else:
            detail = "The request is not valid HTTP/1.1"
            self.answer(InvalidRequest(detail, errors=[FieldError("request", detail)]))

    def pause_writing(self) -> None:
        """Note since when the client has not taken what we send."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it goes on."""
        self._stalled_since = 0.0
        super().resume_writing()

    def answer(self, problem: Problem) -> None:
        """Answer in the application's place, unless it has begun to, and close."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (busy and self.cycle.response_started):
            self.transport.write(_render(problem))
        self.transport.close()

    def shutdown(self) -> None:
        """Stop serving: a request that is being answered is, one that is still arriving is told to come again."""
        if self._phase is Phase.HEAD and self._heard:
            self.answer(stopping())
        elif self._phase is not Phase.CLOSING:
            super().shutdown()

    def cut(self) -> None:
        """Stop serving at once, whatever the application is at."""
        self.evict() if self._phase is Phase.CLOSING else self.answer(stopping())

    def evict(self) -> None:
        """End now, without a word."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """End if the client has taken too long; `now` is the loop's clock."""
        limits, waited = self.server_state.limits, now - self._since
        if self._stalled_since and now - self._stalled_since > limits.request_seconds:
            self._end("slow_reader")
        elif self._phase is Phase.CLOSING:
            written = self.transport.get_write_buffer_size() == 0
            if waited > (limits.linger_seconds if written else limits.request_seconds):
                self.evict()
        elif self._phase is Phase.IDLE and waited > limits.keep_alive_seconds:
            self.transport.close()
        elif self._phase is Phase.HEAD and waited > limits.request_seconds:
            self._end("slow_head")
        elif self._phase is Phase.BODY and waited > limits.request_seconds and self.cycle.response_complete:
            # Before the answer, it is the application that waits, and Exchanges that ends it.
            self._end("slow_body")

    def _end(self, reason: str) -> None:
        self.server_state.count(reason)
        if reason == "slow_head" and self._heard:
            detail = f"The request line and headers must arrive within {self.server_state.limits.request_seconds:g} s"
            self.answer(RequestTimeout(detail))
        elif reason == "slow_reader":
            self.evict()
        else:
            self.transport.close()

    def _follow(self) -> None:
        """Enter the phase that h11 is in."""
        theirs = self.conn.their_state
        if self.transport.is_closing():
            return
        if theirs is h11.SEND_BODY:
            self._enter(Phase.BODY)
        elif theirs is not h11.IDLE:
            self._enter(Phase.OURS)
        elif self._phase is not Phase.HEAD:
            self._heard = bool(self._intake) or bool(self.conn.trailing_data[0])
            self._enter(Phase.HEAD if self._heard else Phase.IDLE)

    def _enter(self, phase: Phase) -> None:
        if phase is not self._phase or self.cycle is not self._of or not self._since:
            self._phase, self._since, self._of = phase, self.loop.time(), self.cycle
            self.server_state.waits(self, for_client=phase is not Phase.OURS)

    def _on_close(self) -> bool:
        """Note that we close; return whether the client may still be sending."""
        sending = self._phase in {Phase.HEAD, Phase.BODY} or self.flow.read_paused or bool(self._intake)
        self.flow.resume_reading()
        self._intake.drop()
        self._enter(Phase.CLOSING)
        return sending


def stopping() -> ServiceUnavailable:
    """Return the problem for a request that comes too late."""
    return ServiceUnavailable("This process is being stopped; try again", headers={"Retry-After": "1"})


def _render(problem: Problem) -> bytes:
    """Return a whole response, for where there is no application to make one."""
    number = str(uuid4())
    body = problems.document(problem, instance=f"urn:uuid:{number}").model_dump_json().encode()
    status = HTTPStatus(problem.status)
    headers = {
        "Content-Type": problems.MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-ID": number,
        "Connection": "close",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
