"""``python -m billing_api`` as its users start it."""

import asyncio
import signal
import stat
from pathlib import Path

import pytest

from hack.processes import ProcessIdentity
from tests.services.billing_api.harness import Query
from tests.services.billing_api.relay import Relay
from tests.support.billing import (
    PASSWORD,
    billing_process,
    built_in_server,
    private_key_pem,
    replica_environment,
    session_of,
    shared_secrets,
    signup_body,
)

_LOGIN = {"email": "john@example.com", "password": PASSWORD}


async def test_it_serves_ends_on_sigterm_and_logs_no_secret(folder: Path) -> None:
    environ = {"DATA_DIR": str(folder), "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
    async with billing_process(environ) as process, await process.client() as client:
        signup = (await client.post("/api/customers/signup", json=signup_body())).json()
        status = await client.get(signup["deployment"]["check_status_url"], headers=session_of(signup))
        assert status.status_code == 200
        assert await process.end(signal.SIGTERM) == 0
    assert "signed up" in process.log
    for secret in (
        PASSWORD,
        signup["license"]["jwt"],
        signup["session"]["token"],
        "BEGIN PRIVATE KEY",
        (folder / "session-secret").read_text().strip(),
        (folder / "idempotency-secret").read_text().strip(),
    ):
        assert secret not in process.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_with_the_built_in_database_nothing_is_lost_however_the_process_ends(
    folder: Path, number: signal.Signals
) -> None:
    environ = {"DATA_DIR": str(folder)}
    async with billing_process(environ) as process, await process.client() as client:
        assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
        await process.end(number)
    async with billing_process(environ) as process, await process.client() as client:
        assert (await client.post("/api/customers/login", json=_LOGIN)).status_code == 200


async def test_the_process_ends_only_when_its_database_has_ended(folder: Path) -> None:
    async with billing_process({"DATA_DIR": str(folder)}) as process, await process.client():
        server = built_in_server(folder)
        # Stopped, it cannot end, and shows by the signal that waits for it that it was told to.
        server.send_signal(signal.SIGSTOP)
        try:
            ending = asyncio.create_task(process.end(signal.SIGTERM))
            await _told_to_end(server)
            assert process.child.returncode is None
            assert not ending.done()
        finally:
            server.send_signal(signal.SIGCONT)
        assert await ending == 0
        # At once: the kernel, too, tells it to end when we are gone, and that must not be what ended it.
        assert not server.is_alive()
        assert not (folder / "postgres" / "postmaster.pid").exists()


async def _told_to_end(server: ProcessIdentity) -> None:
    """Wait until SIGINT is pending for a stopped process (proc(5): ShdPnd is a mask of signals)."""
    async with asyncio.timeout(60):
        while True:
            if _pending_signals(server.pid) & 1 << (signal.SIGINT - 1):
                return
            await asyncio.sleep(0.01)


def _pending_signals(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))


async def test_bad_settings_end_it_with_their_names_and_status_78(tmp_path: Path) -> None:
    async with billing_process({"PORT": "x", "DATA_DIR": str(tmp_path), "SESSION_SECRET": "short"}) as process:
        await process.until("billing_api cannot start")
        await process.until("PORT: must be a whole number")
        await process.until("SESSION_SECRET: must have at least 32 characters")
        assert await process.child.wait() == 78


@pytest.mark.parametrize("path", ["file/below", "file", "/proc/self/fdinfo"])
async def test_a_data_folder_that_cannot_be_made_or_written_is_told_in_a_line_with_the_cure(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    async with billing_process({"DATA_DIR": str(tmp_path / path)}) as process:
        await process.until(f"^DATA_DIR: {tmp_path / path} cannot be used as a folder of our own .*; make it, owned by")
        assert await process.ended() == 78
    assert "Traceback" not in process.log


async def test_with_a_database_for_several_what_they_must_share_is_asked_for_all_at_once(
    dsn: str, tmp_path: Path
) -> None:
    async with billing_process({"DATABASE_URL": dsn, "DATA_DIR": str(tmp_path)}) as process:
        for name in ("LICENSE_PRIVATE_KEY_PATH", "SESSION_SECRET", "IDEMPOTENCY_SECRET"):
            await process.until(f"^{name}: must be set, to the same in every replica.*; make one with: openssl ")
        assert await process.child.wait() == 78


async def test_with_the_built_in_database_the_secrets_are_generated_each_for_itself(folder: str) -> None:
    async with billing_process({"DATA_DIR": folder}) as process, await process.client() as client:
        assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
    assert "Generated a new license signing key" in process.log
    files = [Path(folder) / name for name in ("session-secret", "idempotency-secret", "license-signing-key.pem")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    assert len({file.read_bytes() for file in files}) == 3
    for file in files:
        assert file.read_text().strip() not in process.log


async def test_a_key_that_is_revoked_ends_the_start_with_the_cure(dsn: str, query: Query, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": dsn, "DATA_DIR": str(tmp_path), **shared_secrets(tmp_path)}
    async with billing_process(environ) as process, await process.client():
        pass
    query("UPDATE signing_keys SET revoked_at = now()")
    async with billing_process(environ) as process:
        await process.until("LICENSE_PRIVATE_KEY_PATH: every key there is revoked .* billing-api keys rotate")
        assert await process.child.wait() == 78


async def test_a_body_that_never_ends_is_refused_on_a_real_connection(dsn: str, tmp_path: Path) -> None:
    head = b"POST /api/customers/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    async with (
        billing_process(replica_environment(dsn, tmp_path)) as process,
        await process.client() as client,
    ):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        writer.write(chunk * 20)
        answer = await reader.readline()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_caller_who_hangs_up_is_no_defect(dsn: str, tmp_path: Path) -> None:
    head = b"POST /api/customers/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    async with billing_process(replica_environment(dsn, tmp_path)) as process:
        client = await process.client()
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(head + b"Content-Length: 99\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/health/live")).status_code == 200
        await client.aclose()
        assert await process.end() == 0
    assert "POST /api/customers/signup 400" in process.log
    assert "Traceback" not in process.log


async def test_a_broken_kubeconfig_and_a_missing_database_are_told_in_a_line(tmp_path: Path) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text("[not a kubeconfig")
    async with billing_process({"KUBECONFIG": str(broken), "DATA_DIR": str(tmp_path)}) as process:
        await process.until(f"KUBECONFIG: {broken} cannot be used")
        assert await process.child.wait() == 78
    nowhere = "postgresql://billing@127.0.0.1:1/billing"
    async with billing_process(replica_environment(nowhere, tmp_path)) as process:
        await process.until("DATABASE_URL: PostgreSQL does not answer")
        assert await process.child.wait() == 69


async def test_a_database_that_comes_later_is_waited_for(dsn: str, tmp_path: Path) -> None:
    """As at a platform's first start, which begins database and billing API at once."""
    relay = Relay(dsn)
    await relay.start()
    await relay.fail("refused")
    environ = replica_environment(relay.dsn, tmp_path) | {"DATABASE_WAIT": "60"}
    async with billing_process(environ) as process:
        await process.until("Waiting for the database, 60 s at most .*Connection refused")
        await relay.start()
        await process.until(r"The database is there, after \d")
        async with await process.client() as client:
            assert (await client.get("/health/ready")).status_code == 200
        await process.end()
    await relay.stop()
    assert process.log.count("Waiting for the database") == 1


async def test_a_database_that_does_not_come_is_not_waited_for_longer_than_told(tmp_path: Path) -> None:
    nowhere = "postgresql://billing@127.0.0.1:1/billing"
    async with billing_process(replica_environment(nowhere, tmp_path) | {"DATABASE_WAIT": "0.5"}) as process:
        await process.until("Waiting for the database")
        await process.until("DATABASE_URL: PostgreSQL does not answer")
        assert await process.child.wait() == 69


async def test_a_start_that_waits_for_the_database_ends_on_sigterm(tmp_path: Path) -> None:
    nowhere = "postgresql://billing@127.0.0.1:1/billing"
    async with billing_process(replica_environment(nowhere, tmp_path) | {"DATABASE_WAIT": "600"}) as process:
        await process.until("Waiting for the database")
        assert await process.end(signal.SIGTERM) == 0


async def test_the_built_in_database_ends_with_a_process_that_is_killed(folder: Path) -> None:
    async with billing_process({"DATA_DIR": str(folder)}) as process, await process.client():
        server = built_in_server(folder)
        await process.end(signal.SIGKILL)
        assert await asyncio.to_thread(server.wait, timeout=30)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize("name", ["session-secret", "license-signing-key.pem"])
async def test_a_secret_that_anybody_could_have_written_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    _write(path, private_key_pem() if name.endswith(".pem") else b"s" * 64, mode=0o666)
    async with billing_process({"DATA_DIR": str(folder)}) as process:
        await process.until(rf"{path} may be written by everybody.* chmod go-w {path}")
        assert await process.ended() == 78


async def test_a_folder_with_secrets_that_others_may_write_is_told(folder: Path) -> None:
    await asyncio.to_thread(folder.chmod, 0o777)
    async with billing_process({"DATA_DIR": str(folder)}) as process:
        await process.until(rf"WARNING .*{folder} may be written by everybody")
        await process.address()
