"""The built-in PostgreSQL: what it takes over, what it leaves alone, and whom it tells when it is lost."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import psutil
import psycopg
import pytest

from billing_api.db import embedded, programs
from billing_api.errors import DatabaseUnavailable, EmbeddedDatabaseError
from tests.support.billing import billing_process, signup_body

_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who runs PostgreSQL as another user")


def _owner(data: Path) -> int:
    return data.stat().st_uid


def _write_pid_file(data: Path, process: subprocess.Popen[bytes], *, started: float) -> None:
    """Write what a server leaves that had no time to clean up."""
    lines = [process.pid, "/proc/self/cwd", int(started), 5432, "/proc/self/cwd", "", "  1234  5678", "ready   "]
    path = data / "postmaster.pid"
    path.write_text("\n".join(map(str, lines)) + "\n")
    os.chown(path, _owner(data), -1)


@pytest.mark.parametrize(
    ("name", "as_server", "in_folder"),
    [("sleep", False, False), ("sleep", True, True), ("postgres", True, False), ("postgres", False, True)],
)
def test_another_program_with_the_pid_of_the_pid_file_is_left_alone(
    folder: Path, tmp_path: Path, name: str, as_server: bool, in_folder: bool
) -> None:
    data = folder / "postgres"
    with embedded.running(folder):
        pass
    program = folder.parent / f"{folder.name}-{name}" / name
    program.parent.mkdir()
    shutil.copy("/bin/sleep", program)
    other = subprocess.Popen(
        [program, "600"],
        cwd=data if in_folder else "/",
        user=_owner(data) if as_server else None,
    )
    try:
        _write_pid_file(data, other, started=psutil.Process(other.pid).create_time())
        with embedded.running(folder) as url, psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        shutil.rmtree(program.parent)


def test_a_server_whose_start_does_not_fit_the_pid_file_is_not_ended_but_reported(folder: Path) -> None:
    data = folder / "postgres"
    with embedded.running(folder):
        pass
    found = programs.find(data)
    with (folder / "log").open("ab") as log:
        server = found.launch("postgres", "-D", "/proc/self/cwd", "-k", "/proc/self/cwd", folder=data, log=log)
    try:
        _until(lambda: "ready" in _read(data / "postmaster.pid"))
        _write_pid_file(data, server, started=psutil.Process(server.pid).create_time() - 3600)
        with (
            pytest.raises(EmbeddedDatabaseError, match=f"process {server.pid} is a PostgreSQL"),
            embedded.running(folder),
        ):
            pass
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()


def test_a_server_left_over_is_ended_and_its_data_taken_over(folder: Path) -> None:
    data = folder / "postgres"
    with embedded.running(folder) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept ()")
    found = programs.find(data)
    with (folder / "log").open("ab") as log:
        left = found.launch("postgres", "-D", "/proc/self/cwd", "-k", "/proc/self/cwd", "-h", "", folder=data, log=log)
    _until(lambda: "ready" in _read(data / "postmaster.pid"))
    # Reaped here, as init would: a zombie would still have the pid.
    reaper = threading.Thread(target=left.wait)
    reaper.start()
    with embedded.running(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        reaper.join(timeout=30)
        assert left.poll() == 0


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _pid(folder: Path) -> int:
    return int(_read(folder / "postgres" / "postmaster.pid").split()[0])


def _until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline
        threading.Event().wait(0.02)


def _modes(paths: list[Path]) -> dict[Path, tuple[int, int, int]]:
    return {path: (path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in paths}


@_as_root
def test_started_by_root_it_works_in_a_private_home_and_changes_no_folder_of_others(folder: Path) -> None:
    home = folder / "home"
    data_dir = home / "data"
    for path in (home, data_dir):
        path.mkdir(mode=0o700)
    package = programs.versions()[18].parent.parent
    watched = [data_dir, *data_dir.parents, package, *package.parents, *package.rglob("*")]
    before = _modes(watched)
    with embedded.running(data_dir) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert _owner(data_dir / "postgres") == pwd.getpwnam("pgserver").pw_uid
    assert _modes(watched) == before


@_as_root
def test_started_by_root_programs_in_a_private_folder_are_copied_once_and_left_as_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = programs.versions()[18].parent.parent
    private = folder / "home"
    shutil.copytree(package / "pginstall18", private / package.name / "pginstall18")
    shutil.copytree(package.parent / f"{package.name}.libs", private / f"{package.name}.libs")
    private.chmod(0o700)
    with tempfile.TemporaryDirectory(prefix="billing-cache-") as cache:
        Path(cache).chmod(0o755)
        monkeypatch.setattr(programs, "CACHE", Path(cache) / "programs")
        monkeypatch.setattr(programs, "versions", lambda: {18: private / package.name / "pginstall18" / "bin"})
        watched = [private, *private.parents, *private.rglob("*")]
        before = _modes(watched)
        for _ in range(2):
            with embedded.running(folder) as url, psycopg.connect(url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        assert _modes(watched) == before
        assert len(list((Path(cache) / "programs").iterdir())) == 1
        # Whoever may change the copy decides what runs.
        (Path(cache) / "programs").chmod(0o777)
        shutil.rmtree(next((Path(cache) / "programs").iterdir()))
        with pytest.raises(EmbeddedDatabaseError, match="others than root may change it"), embedded.running(folder):
            pass


@_as_root
def test_started_by_root_it_runs_as_the_owner_of_its_data(folder: Path) -> None:
    data = folder / "postgres"
    with embedded.running(folder):
        pass
    somebody = pwd.getpwnam("nobody")
    for path in (data, *data.rglob("*")):
        os.chown(path, somebody.pw_uid, somebody.pw_gid, follow_symlinks=False)
    with embedded.running(folder):
        server = psutil.Process(_pid(folder))
        assert set(server.uids()) == {somebody.pw_uid}
        assert set(server.gids()) == {somebody.pw_gid}
        assert _owner(data) == somebody.pw_uid


@_as_root
def test_data_that_belongs_to_root_is_refused_with_the_cure_and_left_to_root(folder: Path) -> None:
    (folder / "postgres").mkdir()
    with pytest.raises(EmbeddedDatabaseError, match="chown -R pgserver"), embedded.running(folder):
        pass
    assert _owner(folder / "postgres") == 0


def test_it_tells_no_secret_of_ours_to_the_server_and_no_value_to_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSION_SECRET", "not-for-the-server")
    monkeypatch.setenv("PGPORT", "6000")
    address, statement = "john@example.com", "INSERT INTO customers VALUES (%s)"
    with (
        embedded.running(folder) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE customers (email text PRIMARY KEY, CHECK (email <> 'x'))")
        connection.execute(statement, [address])
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(statement, [address])
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute(f"SELECT '{address}' FROM nowhere".encode())
        server = psutil.Process(_pid(folder))
        assert "SESSION_SECRET" not in server.environ()
    log = (folder / "postgres" / "log").read_text()
    assert "duplicate key value" in log
    assert address not in log


def test_a_first_start_that_was_cut_off_is_begun_anew(folder: Path) -> None:
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    with embedded.running(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (folder / "postgres.new").exists()


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [("PG_VERSION", "9\n", "was made by PostgreSQL 9"), ("notes.txt", "mine", "holds something else")],
)
def test_a_folder_that_it_cannot_use_is_refused_with_the_cure(
    folder: Path, file: str, content: str, complaint: str
) -> None:
    data = folder / "postgres"
    data.mkdir()
    (data / file).write_text(content)
    if os.geteuid() == 0:
        os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(EmbeddedDatabaseError, match=complaint), embedded.running(folder):
        pass
    assert (data / file).read_text() == content


def test_a_server_that_stands_still_is_ended_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # How long it is given is no matter here, only that it is not given for ever.
    monkeypatch.setattr(embedded, "_FAST_STOP_SECONDS", 0.5)
    monkeypatch.setattr(embedded, "_IMMEDIATE_STOP_SECONDS", 0.5)
    with embedded.running(folder):
        server = psutil.Process(_pid(folder))
        server.send_signal(signal.SIGSTOP)
    assert not server.is_running()


def test_a_server_that_cannot_be_started_again_is_told_of_and_reported(folder: Path) -> None:
    lost = threading.Event()
    control = folder / "postgres" / "global" / "pg_control"
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(DatabaseUnavailable, match="does not come back"))
        stack.enter_context(embedded.running(folder, on_lost=lost.set))
        control.rename(control.with_name("elsewhere"))
        psutil.Process(_pid(folder)).kill()
        assert lost.wait(60)


async def test_the_process_ends_with_status_69_when_its_database_is_lost(folder: Path) -> None:
    control = folder / "postgres" / "global" / "pg_control"
    async with billing_process({"DATA_DIR": str(folder)}) as process, await process.client() as client:
        assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
        control.rename(control.with_name("elsewhere"))
        psutil.Process(_pid(folder)).kill()
        async with asyncio.timeout(60):
            assert await process.child.wait() == 69
    assert "the built-in PostgreSQL has ended and does not come back" in process.log
    assert "Traceback" not in process.log


async def test_the_url_of_a_folder_is_the_one_that_a_running_process_serves(folder: Path) -> None:
    async with billing_process({"DATA_DIR": str(folder)}) as process, await process.client() as client:
        assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
        with psycopg.connect(embedded.url(folder)) as connection:
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (1,)


@_as_root
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which ends the server with our process")
def test_the_server_ends_with_a_process_that_is_killed(folder: Path) -> None:
    script = (
        "import sys, time, pathlib; from billing_api.db import embedded\n"
        "with embedded.running(pathlib.Path(sys.argv[1])):\n    print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        server = psutil.Process(_pid(folder))
        child.kill()
        server.wait(timeout=30)
