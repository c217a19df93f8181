"""The demo as a user starts it: from nothing to a Ready stack and back to nothing, and what it says when that fails."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import LocalCluster
from hack.demo.__main__ import main
from hack.demo.environment import Environment
from hack.demo.errors import DemoError
from hack.demo.instance import Snapshot
from hack.demo.process import Program, running
from hack.demo.programs import end_database
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.processes import ProcessIdentity, identify

TIMEOUT = 120.0
END_TIMEOUT = 15.0

# Starts a program, says so, and waits to be killed.
STARTER = """
import sys
from pathlib import Path
from hack.demo.process import Program, running

folder, port = sys.argv[1:]
settings = {"DATA_DIR": folder, "PORT": port}
url = f"http://127.0.0.1:{port}/health/ready"
billing = Program(name="billing-api", arguments=(sys.executable, "-m", "billing_api"), settings=settings, ready_url=url)
with running(billing, logs=Path(folder)) as started:
    started.wait_ready()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name: pytest's own is too long for PostgreSQL's socket."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield Path(name)
        end_database(Path(name))


@pytest.fixture
def port() -> Iterator[int]:
    reservation = PortReservation(1)
    yield reservation.ports[0]
    reservation.release()


def processes_of(folder: Path) -> list[ProcessIdentity]:
    """Every running process that has the folder in its arguments or its environment, or works in it."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            known = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
            known += os.fsencode((directory / "cwd").readlink())
        except OSError:  # it has ended meanwhile, or is not ours
            continue
        if os.fsencode(folder) in known and (process := identify(int(directory.name))):
            found.append(process)
    return found


def run_demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hack.demo", "--once", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def billing_api(folder: Path, port: int) -> Program:
    return Program(
        name="billing-api",
        arguments=(sys.executable, "-m", "billing_api"),
        settings={"DATA_DIR": str(folder), "PORT": str(port)},
        ready_url=f"http://127.0.0.1:{port}/health/ready",
    )


def test_a_signup_becomes_a_ready_stack_and_nothing_is_left_behind(folder: Path) -> None:
    done = run_demo(folder)
    assert done.returncode == 0, done.stderr
    name = re.search(r"answered in \d+ ms: customer cust-\w+, instance (c\w+)", done.stdout)
    assert name, done.stdout
    assert re.search(rf"^{name[1]} +trial +Ready +100 +http://localhost:\d+", done.stdout, re.MULTILINE)
    assert re.search(r"^statefulset.apps/postgres +1/1", done.stdout, re.MULTILINE)
    assert re.search(r"^  mqtt +mqtt://localhost:\d+", done.stdout, re.MULTILINE)
    assert "\nReal\n" in done.stdout
    assert "\nSimulated\n" in done.stdout
    seconds = re.search(r"From signup to Ready: ([\d.]+) s", done.stdout)
    assert seconds
    assert float(seconds[1]) < 60
    assert processes_of(folder) == []
    assert not list(folder.glob("iotistic-demo-*"))


def test_an_operator_that_cannot_start_fails_the_demo_with_its_last_words(folder: Path) -> None:
    done = run_demo(folder, "--set", "QUEUE_CONCURRENCY=0")
    assert done.returncode == 1
    assert "error: operator ended with exit code 1" in done.stderr
    assert "QUEUE_CONCURRENCY must be at least 1; it is '0'" in done.stderr
    log = re.search(r"the end of (\S+):", done.stderr)
    assert log
    assert Path(log[1]).is_file()
    assert processes_of(folder) == []


def test_the_billing_api_ends_with_its_database_when_its_starter_is_killed(folder: Path, port: int) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder), str(port)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with starter:
        assert starter.stdout
        assert starter.stdout.readline() == b"ready\n"
        processes = processes_of(folder)
        assert len(processes) > 2, "starter, billing API and PostgreSQL"
        starter.kill()
        assert all(process.wait(timeout=END_TIMEOUT) for process in processes)
    assert processes_of(folder) == []


def test_the_database_of_a_killed_billing_api_is_ended(folder: Path, port: int) -> None:
    with running(billing_api(folder, port), logs=folder) as started:
        started.wait_ready()
        started.process.kill()
        assert "billing-api ended with exit code -9" in str(started.ended())
        left = processes_of(folder)
        assert left, "PostgreSQL goes on without the billing API"
        end_database(folder)
        assert all(process.wait(timeout=END_TIMEOUT) for process in left)


def test_a_program_that_ends_before_it_is_ready_is_an_error_with_its_last_words(folder: Path, port: int) -> None:
    program = Program(
        name="broken",
        arguments=(sys.executable, "-c", "raise SystemExit('no such luck')"),
        settings={},
        ready_url=f"http://127.0.0.1:{port}/",
    )
    with (
        running(program, logs=folder) as started,
        pytest.raises(DemoError, match=r"(?s)code 1.*such luck"),
    ):
        started.wait_ready()


def test_the_end_of_the_operator_or_the_billing_api_is_noticed_at_once(folder: Path) -> None:
    programs = [Program(name=name, arguments=("sleep", "60"), settings={}, ready_url="") for name in ("left", "right")]
    with running(programs[0], logs=folder) as left, running(programs[1], logs=folder) as right:
        cluster = LocalCluster("absent", base=folder)
        environment = Environment(cluster=cluster, billing=left, billing_url="", operator=right, operator_url="")
        environment.check()
        right.process.send_signal(signal.SIGTERM)
        with pytest.raises(DemoError, match="right ended with exit code -15"):
            environment.wait_ended()


def test_a_program_does_not_see_the_settings_of_the_users_shell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production.example/billing")
    program = Program(name="env", arguments=("env",), settings={"PORT": "3100"}, ready_url="")
    with running(program, logs=folder) as started:
        started.process.wait(END_TIMEOUT)
    seen = (folder / "env.log").read_text()
    assert "PORT=3100" in seen
    assert "DATABASE_URL" not in seen


def test_an_instance_without_status_waits_for_the_operator() -> None:
    assert Snapshot.parse({"metadata": {"name": "acme"}}).message == "waiting for the operator"


def test_a_setting_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--set", "QUEUE_CONCURRENCY"])
    assert "'QUEUE_CONCURRENCY' is not NAME=VALUE" in capsys.readouterr().err
