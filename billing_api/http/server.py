"""uvicorn with limits on its clients, and an end that takes no longer than Kubernetes waits."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from billing_api.errors import SettingsError
from billing_api.http import listening
from billing_api.http.connection import Connection
from billing_api.http.connections import Connections, Limits
from billing_api.http.exchange import Ending, Exchanges
from billing_api.http.stopping import Stop
from billing_api.metrics import ConnectionMetrics
from billing_api.settings import Settings

# When each step of a stop must be over, in seconds after the signal; the next gets what this one leaves. The database
# stops after them, in 7 seconds at most, which is before `stopping.DEADLINE_SECONDS`.
_REQUESTS_UNTIL = 10.0
_APPLICATION_UNTIL = 18.0
_TASKS_UNTIL = 20.0

_TICK_SECONDS = 0.05
_SWEEP_EVERY_TICKS = 5  # uvicorn's, of 0.1 s
#: What a process opens besides its clients: PostgreSQL, Kubernetes, files; those refused.
_OTHER_FILES = 300

log = logging.getLogger(__name__)


def run(
    app: ASGIApp,
    *,
    sockets: Sequence[socket.socket],
    settings: Settings,
    registry: CollectorRegistry,
    stop: Stop,
) -> bool:
    """Serve until `stop` is asked for; return whether it came to serving at all.

    Args:
        app: the application; its lifespan is run, and its ``request.state.stopping`` is set.
        sockets: where to listen; bound already.
        settings: host and port as they are told, and the limits.
        registry: where connections are counted.
        stop: how the process ends.

    Raises:
        SettingsError: another process has begun to listen there in the meantime.
    """
    limits = Limits(connections=settings.max_connections, request_seconds=settings.request_timeout)
    ending = Ending()
    config = uvicorn.Config(
        Exchanges(app, body_seconds=settings.request_timeout, ending=ending),
        host=settings.host,
        port=settings.port,
        http=Connection,
        ws="none",
        timeout_keep_alive=int(limits.keep_alive_seconds),
        proxy_headers=False,  # addresses.ClientAddress does it
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
    )
    connections = Connections(limits, ConnectionMetrics(registry))
    server = Server(config, connections=connections, ending=ending, stop=stop, delay=settings.stop_delay)
    server.run(list(sockets))
    return server.started


def allow_files(*, connections: int) -> None:
    """Let this process open a file for each connection; the usual soft limit of 1,024 is for programs with select(2).

    Raises:
        SettingsError: the system's hard limit is lower.
    """
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SettingsError(
            f"MAX_CONNECTIONS: needs {wanted} open files, and the system allows {hard}; "
            f"raise `ulimit -Hn`, or set MAX_CONNECTIONS to at most {max(1, hard - _OTHER_FILES)}"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Server(uvicorn.Server):
    """uvicorn's server; what differs is what happens between connections, and at the end."""

    def __init__(
        self, config: uvicorn.Config, *, connections: Connections, ending: Ending, stop: Stop, delay: float
    ) -> None:
        super().__init__(config)
        self.server_state = self._connections = connections
        self._ending = ending
        self._stop = stop
        self._delay = delay

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve to the end. Unlike asyncio.run, it does not wait for a task that ignores its cancellation."""
        factory = self.config.get_loop_factory() or asyncio.new_event_loop
        loop = factory()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self.serve(sockets))
        finally:
            if loop.run_until_complete(self._end_tasks()):
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()
            asyncio.set_event_loop(None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say where; uvicorn says nothing of sockets that it was given."""
        try:
            await super().startup(sockets)
        except OSError as error:
            await self.lifespan.shutdown()
            raise listening.refusal(error, host=self.config.host, port=self.config.port) from error
        self._log_started_message(sockets or [])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let a signal end `main_loop`."""
        with self._stop.asking(self._leave_main_loop):
            yield

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections; return whether to stop."""
        if counter % _SWEEP_EVERY_TICKS == 0:
            self._sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop step by step, each with its time: readiness, listener, requests, the application's own tasks."""
        self._ending.begun.set()
        log.info("Stopping: /health/ready answers 503, and no connection is kept alive")
        if self._delay:
            log.info("New connections are taken for %g s more (STOP_DELAY)", self._delay)
            await self._wait(lambda: False, until=self._delay)
        for server in self.servers:
            server.close()
        log.info("The listener is closed; %d connections are open", len(self._connections.connections))
        await self._end_requests()
        await self._end_application()

    async def _end_requests(self) -> None:
        self._ending.streams.set()
        for connection in self._open():
            connection.shutdown()
        if await self._wait(lambda: not self._connections.connections, until=_REQUESTS_UNTIL):
            log.info("All requests are answered")
        else:
            tasks = self._connections.tasks
            log.warning("%d requests are not answered in time, and are told to come again: 503", len(tasks))
            for connection in self._open():
                connection.cut()
            for task in tuple(tasks):
                task.cancel()
            await asyncio.sleep(_TICK_SECONDS)
        self._connections.report()

    async def _end_application(self) -> None:
        log.info("Ending the background tasks and the connections to database and cluster")
        try:
            async with asyncio.timeout(self._left(until=_APPLICATION_UNTIL)):
                await self.lifespan.shutdown()
            log.info("The application has ended")
        except TimeoutError:
            log.error("The application has not ended in time; it is left as it is")

    async def _end_tasks(self) -> bool:
        """Cancel all that is left; return whether it has ended."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        pending = (await asyncio.wait(tasks, timeout=self._left(until=_TASKS_UNTIL)))[1] if tasks else set()
        for task in pending:
            log.error("The task %s does not end; it is left behind", task.get_name())
        return not pending

    async def _wait(self, condition: Callable[[], bool], *, until: float) -> bool:
        """Look after the connections until the condition holds, or it is so late; return whether it holds."""
        while not (holds := condition()) and self._stop.elapsed < until:
            self._sweep()
            await asyncio.sleep(_TICK_SECONDS)
        return holds

    def _sweep(self) -> None:
        self._connections.sweep(asyncio.get_running_loop().time())

    def _open(self) -> list[Connection]:
        return [connection for connection in self._connections.connections if isinstance(connection, Connection)]

    def _left(self, *, until: float) -> float:
        return max(until - self._stop.elapsed, 1.0)

    def _leave_main_loop(self) -> None:
        self.should_exit = True
