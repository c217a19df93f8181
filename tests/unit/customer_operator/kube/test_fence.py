"""No write passes a fence that is closed, and none that is in flight when it closes is completed."""

import array
import asyncio
import fcntl
import socket
import ssl
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry

from customer_operator.credentials.certificates import create_authority, issue
from customer_operator.errors import ClusterUnreachable, LeadershipLost
from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import Fence, FencedRequest
from customer_operator.metrics import Metrics

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
PATIENCE = 10.0
MOMENT = 0.1


class Clock:
    """Seconds that pass when a test says so; a process that stands still looks the same."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Server:
    """Answers every request with {}, those it holds not before it is told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.peers: set[object] = set()
        self.cut: list[str] = []
        self.arrived = asyncio.Event()
        self.let_go = asyncio.Event()
        self.ended = asyncio.Event()
        self.let_go.set()

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(request.method)
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        self.arrived.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cut.append(request.method)
            self.ended.set()
            raise
        return web.json_response({})


@asynccontextmanager
async def connected(
    fence: Fence, *, connections: int = 100, request_class: type[FencedRequest] = FencedRequest
) -> AsyncIterator[tuple[KubeClient, Server]]:
    server, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with client_for(host, connections=connections, request_class=request_class) as client:
            yield KubeClient(client, metrics=Metrics(CollectorRegistry()), fence=fence), server
    finally:
        await runner.cleanup()


def client_for(
    host: str,
    *,
    connections: int = 100,
    trusted: Path | None = None,
    request_class: type[FencedRequest] = FencedRequest,
) -> ApiClient:
    configuration = Configuration(host=host)
    configuration.connection_pool_maxsize = connections
    configuration.ssl_ca_cert = str(trusted) if trusted else None
    configuration.client_session_kwargs = {"trust_env": False, "request_class": request_class}
    return ApiClient(configuration)


Write = Callable[[KubeClient], Awaitable[object]]
WRITES: dict[str, Write] = {
    "apply": lambda client: client.apply(NAMESPACE),
    "apply a subresource": lambda client: client.apply(NAMESPACE, subresource="status"),
    "create": lambda client: client.create(NAMESPACE),
    "merge": lambda client: client.merge(NAMESPACE, {}),
    "replace": lambda client: client.replace(NAMESPACE),
    "delete": lambda client: client.delete("Namespace", "x", uid="1"),
    "anything else": lambda client: client.request("OPTIONS", "/"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_replica_that_does_not_lead_reads_and_never_writes(write: Write) -> None:
    """A fence is closed until somebody opens it."""
    async with connected(Fence()) as (client, server):
        with pytest.raises(LeadershipLost, match="not sent, for this replica does not lead"):
            await write(client)
        assert await client.get("Namespace", "x") == {}
    assert server.seen == ["GET"]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_replica_writes_until_its_time_is_up(write: Write) -> None:
    clock = Clock()
    fence = Fence(clock=clock)
    async with connected(fence) as (client, server):
        fence.extend(until=110)
        fence.extend(until=105)  # an answer that came late takes nothing back
        clock.seconds = 109.9
        await write(client)
        clock.seconds = 110
        with pytest.raises(LeadershipLost):
            await write(client)
    assert len(server.seen) == 1


def test_a_write_that_must_not_leave_is_nobody_s_failure() -> None:
    assert issubclass(LeadershipLost, ClusterUnreachable)


@pytest.mark.parametrize("end", ["its time is up", "it is closed"])
async def test_a_write_in_flight_is_cut_off_when_the_fence_closes(end: str) -> None:
    clock = Clock()
    fence = Fence(clock=clock)
    fence.extend(until=clock() + 3600)
    async with connected(fence) as (client, server):
        server.let_go.clear()
        write = asyncio.create_task(client.apply(NAMESPACE))
        await asyncio.wait_for(server.arrived.wait(), PATIENCE)
        if end == "it is closed":
            fence.close()
        else:
            nearly_up(fence, clock)
        with pytest.raises(LeadershipLost, match="cut off"):
            await asyncio.wait_for(write, PATIENCE)
        await asyncio.wait_for(server.ended.wait(), PATIENCE)
    assert server.cut == ["PATCH"]


async def test_a_write_is_cut_off_at_the_time_that_was_known_when_it_began() -> None:
    """Nobody renews the lease, and nobody closes the fence; how far the write has got does not matter."""
    clock = Clock()
    fence = Fence(clock=clock)
    fence.extend(until=clock() + MOMENT)
    async with connected(fence) as (client, server):
        server.let_go.clear()
        with pytest.raises(LeadershipLost, match="cut off"):
            await asyncio.wait_for(client.apply(NAMESPACE), PATIENCE)


async def test_a_write_in_flight_goes_on_when_the_lease_is_renewed_meanwhile() -> None:
    clock = Clock()
    fence = Fence(clock=clock)
    fence.extend(until=clock() + 3600)
    async with connected(fence) as (client, server):
        server.let_go.clear()
        write = asyncio.create_task(client.apply(NAMESPACE))
        await asyncio.wait_for(server.arrived.wait(), PATIENCE)
        nearly_up(fence, clock)
        fence.extend(until=clock() + 3600)
        await asyncio.wait([write], timeout=3 * MOMENT)
        assert not write.done()
        server.let_go.set()
        assert await asyncio.wait_for(write, PATIENCE) == {}


def nearly_up(fence: Fence, clock: Clock) -> None:
    """Move the time to a moment before the fence's end; the end itself comes by the event loop's clock."""
    clock.seconds += fence.left - MOMENT
    fence.extend(until=clock() + MOMENT)


async def test_a_write_that_has_waited_for_a_connection_for_too_long_is_not_sent() -> None:
    clock = Clock()
    fence = Fence(clock=clock)
    fence.extend(until=110)
    async with connected(fence, connections=1) as (client, server):
        server.let_go.clear()
        read = asyncio.create_task(client.get("Namespace", "x"))
        await asyncio.wait_for(server.arrived.wait(), PATIENCE)
        write = asyncio.create_task(client.apply(NAMESPACE))
        await asyncio.sleep(0)  # until it waits
        clock.seconds = 110  # the process was suspended, and no timer of its own has run yet
        server.let_go.set()
        assert await asyncio.wait_for(read, PATIENCE) == {}
        with pytest.raises(LeadershipLost, match="not sent"):
            await asyncio.wait_for(write, PATIENCE)
    assert server.seen == ["GET"]


async def test_a_write_before_whose_body_the_process_stood_still_is_not_sent() -> None:
    clock = Clock()
    fence = Fence(clock=clock)
    fence.extend(until=110)

    class Stopped(FencedRequest):
        async def write_bytes(
            self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
        ) -> None:
            clock.seconds = 110  # nothing has left yet, and no timer of its own has run
            await super().write_bytes(writer, conn, content_length)

    async with connected(fence, request_class=Stopped) as (client, server):
        with pytest.raises(LeadershipLost, match="cut off"):
            await asyncio.wait_for(client.apply(NAMESPACE), PATIENCE)
        assert await client.get("Namespace", "x") == {}
    assert server.seen == ["GET"]


async def test_a_connection_whose_request_was_answered_is_left_to_the_next() -> None:
    fence = Fence.always_open()
    async with connected(fence) as (client, server):

        async def fail_after_the_answer() -> None:
            async with fence.guard("a write"):
                await client.get("Namespace", "x")
                raise RuntimeError("of the caller")

        for _ in range(3):
            with pytest.raises(RuntimeError, match="of the caller"):
                await fail_after_the_answer()
    assert len(server.peers) == 1


class Deaf:
    """A server that reads nothing until it is told to, as one behind a network that has stopped delivering."""

    def __init__(self) -> None:
        self.received = 0
        self.broken = False
        self._connected = asyncio.Event()
        self._hears = asyncio.Event()
        self._done = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._socket = writer.get_extra_info("socket")
        self._connected.set()
        await self._hears.wait()
        try:
            while chunk := await reader.read(65536):
                self.received += len(chunk)
        except (OSError, ssl.SSLError):
            self.broken = True
        writer.transport.abort()
        self._done.set()

    async def until_full(self) -> None:
        """Wait until data has come, and no more of it comes: the buffers on the way are full."""
        async with asyncio.timeout(PATIENCE):
            await self._connected.wait()
            before, waiting = -1, 0
            while not waiting == before > 0:
                before = waiting
                await asyncio.sleep(0.2)
                waiting = self._unread()

    def _unread(self) -> int:
        """Return how many bytes wait in the kernel."""
        size = array.array("i", [0])
        fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, size)
        return size[0]

    async def hear(self) -> None:
        self._hears.set()
        await asyncio.wait_for(self._done.wait(), PATIENCE)


SIZE = 1_000_000  # bytes; more than a deaf server's buffers hold


async def cut_off_midway(identity: tuple[Path, Path] | None) -> Deaf:
    """Send a large write to a deaf server, close the fence, and let the server hear what still comes."""
    deaf, fence, tls = Deaf(), Fence(), None
    fence.extend(until=fence._clock() + 3600)
    if identity:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*identity)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = await asyncio.start_server(deaf.serve, sock=listener, ssl=tls, limit=1024)
    host = f"{'https' if tls else 'http'}://localhost:{server.sockets[0].getsockname()[1]}"
    async with server, client_for(host, trusted=identity and identity[0]) as api:
        client = KubeClient(api, metrics=Metrics(CollectorRegistry()), fence=fence)
        write = asyncio.create_task(client.apply({**NAMESPACE, "data": "x" * SIZE}))
        await deaf.until_full()
        fence.close()
        with pytest.raises(LeadershipLost):
            await asyncio.wait_for(write, PATIENCE)
        await deaf.hear()
    return deaf


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, with its authority behind it, and its key."""
    now = datetime.now(UTC)
    authority = create_authority(now=now)
    pair = issue(authority, hosts=("localhost",), now=now)
    folder = tmp_path_factory.mktemp("tls")
    (folder / "chain.crt").write_text(pair.certificate + authority.certificate)
    (folder / "key").write_text(pair.private_key)
    return folder / "chain.crt", folder / "key"


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,  # kopf takes it when it is installed
}


def run_on(loop: str, main: Coroutine[Any, Any, Deaf]) -> Deaf:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_of_a_write_that_was_cut_off_nothing_is_delivered_later(
    identity: tuple[Path, Path], loop: str, scheme: str
) -> None:
    """Closed in order, the connection would be flushed when the network comes back: a write of a former leader."""
    deaf = run_on(loop, cut_off_midway(identity if scheme == "https" else None))
    assert deaf.received < SIZE
    assert deaf.broken
