"""The metrics over HTTP: prometheus_client's WSGI application on the standard library's server.

Bounded: each connection has a thread, and there are only so many, each for only so long.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from exporters.mqtt.errors import ListenFailed

log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 8
LONGEST_CONNECTION: Final = 10.0  # seconds

_Connection: TypeAlias = socket.socket | tuple[bytes, socket.socket]


class MetricsServer:
    """Serves /metrics and /healthz in threads of its own."""

    def __init__(self, host: str, port: int, *, registry: CollectorRegistry, problem: Callable[[], str]) -> None:
        """Listen at once; `problem` returns why the process should be restarted, empty when it need not.

        Raises ListenFailed when the port cannot be had.
        """
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise ListenFailed(f"PORT, HOST: {host}:{port} cannot be listened on ({error.strerror or error})") from None
        self._server.set_app(_application(registry, problem))
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Take no connection any more."""
        self._server.shutdown()
        self._server.server_close()


def _application(registry: CollectorRegistry, problem: Callable[[], str]) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def application(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/metrics":
            return metrics(environment, start_response)
        status, text = _answer(path, problem)
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return application


def _answer(path: str, problem: Callable[[], str]) -> tuple[str, str]:
    if path != "/healthz":
        return "404 Not Found", "there are /metrics and /healthz"
    wrong = problem()
    return ("503 Service Unavailable", wrong) if wrong else ("200 OK", "ok")


class _Handler(WSGIRequestHandler):
    """Does not log every scrape."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind as the base does, but ask no DNS for our own name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def verify_request(self, request: _Connection, client_address: Any) -> bool:
        """Turn away whoever comes when there are too many already."""
        with self._lock:
            if len(self._deadlines) >= MOST_CONNECTIONS:
                return False
            self._deadlines[request] = time.monotonic() + LONGEST_CONNECTION  # type: ignore[index]
            return True

    def shutdown_request(self, request: _Connection) -> None:
        """Close a connection and make room for the next."""
        with self._lock:
            self._deadlines.pop(request, None)  # type: ignore[arg-type]
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End what has lasted for too long, as a request does that never becomes complete; called twice a second."""
        with self._lock:
            late = [item for item, deadline in self._deadlines.items() if deadline < time.monotonic()]
        for connection in late:
            with suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: _Connection, client_address: Any) -> None:
        """Tell of a defect, but not of a client that went away."""
        log.debug("a connection from %s has failed", client_address, exc_info=True)
