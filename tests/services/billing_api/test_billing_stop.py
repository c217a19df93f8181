"""How the process ends: in order, told step by step, and in less than the 30 seconds that Kubernetes grants."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from hack.processes import ProcessIdentity, identify
from tests.support.billing import (
    PASSWORD,
    BillingProcess,
    billing_process,
    built_in_server,
    replica_environment,
    signup_body,
)
from tests.support.raw_http import READY, connections, post

# terminationGracePeriodSeconds of a pod, unless it says otherwise.
_GRACE_SECONDS = 30.0
_LOGIN = b'{"email": "nobody@example.com", "password": "NoPassword1"}'


@pytest.fixture
def environ(dsn: str, tmp_path: Path) -> dict[str, str]:
    return replica_environment(dsn, tmp_path)


async def _end_in_time(process: BillingProcess, what: str) -> int:
    started = time.monotonic()
    status = await process.end()
    seconds = time.monotonic() - started
    sys.stdout.write(f"\n{what}: ended after {seconds:.1f} s\n")
    assert seconds < _GRACE_SECONDS, process.log
    return status


async def test_sigterm_lets_an_open_request_end_and_tells_every_step(folder: Path) -> None:
    async with (
        billing_process({"DATA_DIR": str(folder)}) as process,
        await process.client() as client,
        connections(client.base_url, 4) as (open_one, idle, half, silent),
    ):
        await idle.send(READY)
        assert (await idle.answer()).status == 200
        request = post("/api/customers/login", _LOGIN)
        await open_one.send(request[:-5])
        await half.send(READY[:-5])
        assert (await client.get("/health/live")).status_code == 200
        process.child.send_signal(signal.SIGTERM)
        await process.logged("The listener is closed")
        with pytest.raises(OSError):
            await asyncio.open_connection(client.base_url.host, client.base_url.port)
        assert await idle.is_ended()
        assert await silent.is_ended()
        assert (await half.answer()).status == 503
        await open_one.send(request[-5:])
        answer = await open_one.answer()
        assert await process.ended() == 0
    assert answer.status == 401
    assert answer.headers["connection"] == "close"
    steps = ["Stopping: /health/ready", "The listener is closed", "All requests are answered"]
    steps += ["Ending the background tasks", "The application has ended", "Stopping the built-in", "Stopped after"]
    found = [process.log.find(step) for step in steps]
    assert -1 not in found
    assert found == sorted(found)
    assert "Traceback" not in process.log
    assert not (folder / "postgres" / "postmaster.pid").exists()


async def test_during_stop_delay_readiness_is_503_and_requests_are_still_taken(environ: dict[str, str]) -> None:
    async with billing_process(environ | {"STOP_DELAY": "5"}) as process, await process.client() as client:
        process.child.send_signal(signal.SIGTERM)
        await process.logged("New connections are taken for 5 s more")
        # The pooled connections are idle ones of before; these are new.
        async with httpx.AsyncClient(base_url=client.base_url) as other:
            ready, live = await other.get("/health/ready"), await other.get("/health/live")
        assert await process.ended() == 0
    assert (ready.status_code, live.status_code) == (503, 200)
    assert (ready.headers["connection"], live.headers["connection"]) == ("close", "close")


async def test_an_open_event_stream_ends_properly_and_at_once() -> None:
    async with billing_process({}, module="tests.support.served") as process:
        address = await process.address()
        async with httpx.AsyncClient() as client, client.stream("GET", f"{address}/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "data: 1"
            ending = asyncio.create_task(_end_in_time(process, "with an open event stream"))
            # A stream that is cut off would raise RemoteProtocolError here.
            assert [line async for line in lines]
            assert await ending == 0
    assert "All requests are answered" in process.log
    assert "Traceback" not in process.log


async def test_what_never_ends_is_cut_off_with_503() -> None:
    async with billing_process({}, module="tests.support.served") as process:
        address = await process.address()
        async with connections(address, 1) as (one,):
            await one.send(b"GET /deaf HTTP/1.1\r\nHost: x\r\n\r\n")
            # Answered after it on the same loop, so the first request has begun.
            async with httpx.AsyncClient() as client:
                assert (await client.get(address)).status_code == 200
            ending = asyncio.create_task(_end_in_time(process, "with a request that never ends"))
            answer = await one.answer()
            assert await ending == 0
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert "it is left behind" in process.log


async def test_with_a_hanging_database_it_ends_in_time(folder: Path) -> None:
    async with (
        billing_process({"DATA_DIR": str(folder)}) as process,
        await process.client() as client,
        connections(client.base_url, 1) as (one,),
    ):
        assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
        with _stopped(_postgres(folder)):
            await one.send(post("/api/customers/login", _LOGIN))
            assert (await client.get("/health/live")).status_code == 200
            status = await _end_in_time(process, "with a hanging database")
        assert (await one.answer()).status == 503
    assert status == 0
    assert PASSWORD not in process.log


async def test_a_stop_goes_on_step_by_step_when_the_database_is_lost_meanwhile(folder: Path) -> None:
    async with (
        billing_process({"DATA_DIR": str(folder)}) as process,
        await process.client() as client,
        connections(client.base_url, 1) as (half,),
    ):
        # Keeps the process for ten seconds; in the log is the fourth of five tries, of which the last two take five.
        await half.send(post("/api/customers/login", b"{", length=99))
        (folder / "postgres" / "global" / "pg_control").unlink()
        built_in_server(folder).send_signal(signal.SIGKILL)
        await process.logged("(?s)" + 4 * "does not start.*")
        process.child.send_signal(signal.SIGTERM)
        assert await process.ended() == 69
    steps = [
        "Stopping: /health/ready",
        "does not come back",
        "are told to come again: 503",
        "The application has ended",
    ]
    found = [process.log.find(step) for step in steps]
    assert -1 not in found, process.log
    assert found == sorted(found)
    assert "Traceback" not in process.log


@contextmanager
def _stopped(processes: list[ProcessIdentity]) -> Iterator[None]:
    """Stop processes for the length of the block."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def _postgres(folder: Path) -> list[ProcessIdentity]:
    """Return the server of this data folder and its children."""
    server = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    children = map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())
    found = [identify(pid) for pid in (server, *children)]
    return [process for process in found if process]


async def test_with_a_hanging_kubernetes_it_ends_in_time(environ: dict[str, str], tmp_path: Path) -> None:
    async with _silent_server() as (port, applies):
        kubeconfig = _write_kubeconfig(tmp_path / "kubeconfig", port)
        async with (
            billing_process(environ | {"KUBECONFIG": str(kubeconfig)}) as process,
            await process.client() as client,
        ):
            assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
            async with asyncio.timeout(_GRACE_SECONDS):
                await applies.wait()
            assert await _end_in_time(process, "with a hanging Kubernetes") == 0


@asynccontextmanager
async def _silent_server() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Take connections, never answer; give the port, and what is set when an instance is applied."""
    applies = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if data.startswith(b"PATCH "):
                applies.set()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], applies


def _write_kubeconfig(path: Path, port: int) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "silent", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "billing", "user": {"token": "token"}}],
        "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "billing"}}],
        "current-context": "silent",
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_second_signal_ends_it_at_once_and_its_database(folder: Path, number: int, status: int) -> None:
    async with (
        billing_process({"DATA_DIR": str(folder)}) as process,
        await process.client() as client,
        connections(client.base_url, 1) as (one,),
    ):
        await one.send(post("/api/customers/login", b"{", length=99))
        assert (await client.get("/health/live")).status_code == 200
        server = identify(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]))
        process.child.send_signal(signal.SIGTERM)
        await process.logged("The listener is closed")
        assert await process.end(number) == status
    assert "a second signal, ending at once" in process.log
    assert server is not None
    assert await asyncio.to_thread(server.wait, timeout=_GRACE_SECONDS)


async def test_a_signal_before_it_serves_ends_it_with_its_database(folder: Path) -> None:
    async with billing_process({"DATA_DIR": str(folder)}) as process:
        await process.until("starting the built-in PostgreSQL")
        assert await process.end(signal.SIGTERM) == 0
    assert not (folder / "postgres" / "postmaster.pid").exists()
    assert "Traceback" not in process.log
