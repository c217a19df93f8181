"""Processes are told apart safely, ports stay ours, and no program outlives its starter."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hack.guard import Guard
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.processes import ProcessIdentity, end_process, end_programs, find_programs, identify

SLEEP = ["sleep", "60"]
TIMEOUT = 10.0


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def identity_of(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with one program."""
    program = shutil.which("sleep")
    assert program
    (tmp_path / "daemon").symlink_to(program)
    yield tmp_path
    end_programs(tmp_path)


def start_daemon(folder: Path) -> ProcessIdentity:
    """Start the program of the folder as kwokctl starts its own: nobody's child once the starter's child has ended."""
    script = '"$0" 60 >/dev/null 2>&1 & echo $!'
    done = subprocess.run(["sh", "-c", script, folder / "daemon"], capture_output=True, check=True)
    daemon = identity_of(int(done.stdout))
    wait_until(lambda: find_programs(folder) == {"daemon": daemon})
    return daemon


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces: that a forked shell has become the program."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited 10 s")


def test_a_process_is_known_while_it_runs_and_not_as_a_zombie(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper.pid)
    assert identity.is_alive()
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    assert not identity.is_alive()


def test_a_recycled_pid_is_neither_alive_nor_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    stranger = replace(identity_of(sleeper.pid), started="another-boot:1")
    assert not stranger.is_alive()
    assert not stranger.send_signal(signal.SIGKILL)
    end_process(stranger, grace=0.1)
    assert identity_of(sleeper.pid).is_alive()


def test_a_paused_process_is_woken_to_end_in_its_own_way() -> None:
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        end_process(identity_of(process.pid), grace=TIMEOUT)
        assert process.wait(timeout=TIMEOUT) == 7


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        end_process(identity_of(stubborn.pid), grace=0.2)
        assert stubborn.wait(timeout=TIMEOUT) == -signal.SIGKILL


def test_a_reserved_port_goes_to_nobody_else_but_our_server_can_listen_on_it() -> None:
    reservation = PortReservation(3)
    try:
        assert len(set(reservation.ports)) == 3
        with socket.socket() as stranger, pytest.raises(OSError, match="Address already in use"):
            stranger.bind(("127.0.0.1", reservation.ports[0]))
        # create_server sets SO_REUSEADDR, as a Go server does.
        with (
            socket.create_server(("127.0.0.1", reservation.ports[0])) as server,
            socket.create_connection(server.getsockname(), timeout=TIMEOUT) as client,
        ):
            assert client.getpeername()[1] == reservation.ports[0]
    finally:
        reservation.release()


def test_two_reservations_never_share_a_port() -> None:
    reservations = [PortReservation(50) for _ in range(4)]
    ports = [port for reservation in reservations for port in reservation.ports]
    for reservation in reservations:
        reservation.release()
    assert len(set(ports)) == 200


def test_only_what_runs_from_the_folder_belongs_to_it(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "cat").symlink_to(str(shutil.which("cat")))
    stranger, daemon = (
        subprocess.Popen([other / "cat", "-", folder / "daemon"], stdin=subprocess.PIPE),
        start_daemon(folder),
    )
    with stranger:
        assert find_programs(folder) == {"daemon": daemon}
        end_programs(folder)
        assert not daemon.is_alive()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start somebody else's process")
def test_what_another_user_calls_by_our_program_s_name_is_not_ours(folder: Path) -> None:
    """Root enters the namespaces of the process it finds, and runs what lies there."""
    daemon = start_daemon(folder)
    with subprocess.Popen([folder / "daemon", "60"], executable="/bin/sleep", user=65534, group=65534) as stranger:
        command = Path(f"/proc/{stranger.pid}/cmdline")
        wait_until(lambda: command.read_bytes().startswith(os.fsencode(folder)))
        assert find_programs(folder) == {"daemon": daemon}
        end_programs(folder)
        assert stranger.poll() is None
        stranger.kill()


def test_a_paused_program_is_ended_too(folder: Path) -> None:
    daemon = start_daemon(folder)
    daemon.send_signal(signal.SIGSTOP)
    end_programs(folder)
    assert not daemon.is_alive()


def test_closing_the_guard_ends_the_programs_of_the_folder(folder: Path) -> None:
    guard = Guard(folder)
    daemon = start_daemon(folder)
    guard.close()
    assert not daemon.is_alive()


def test_a_detached_guard_leaves_the_programs_alone(folder: Path) -> None:
    guard = Guard(folder)
    daemon = start_daemon(folder)
    guard.detach()
    assert daemon.is_alive()


def test_programs_end_with_their_starter_even_when_somebody_has_killed_the_guard(folder: Path) -> None:
    guard = Guard(folder)
    daemon = start_daemon(folder)
    guard._process.kill()
    guard.close()
    assert not daemon.is_alive()


@pytest.mark.parametrize("how", ["alone", "after a polite signal to the guard", "with a forked child"])
def test_killing_the_starter_ends_the_programs_of_the_folder(folder: Path, how: str) -> None:
    program = textwrap.dedent("""
        import os, signal, sys, time
        from pathlib import Path
        from hack.guard import Guard
        guard = Guard(Path(sys.argv[1]))
        if "signal" in sys.argv[2]:
            guard._process.send_signal(signal.SIGTERM)
        child = os.fork() if "forked" in sys.argv[2] else None
        if child != 0:
            print(child or 0, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", program, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT_ROOT) as starter:
        assert starter.stdout is not None
        child = identify(int(starter.stdout.readline()))
        daemon = start_daemon(folder)
        starter.kill()
        assert daemon.wait(timeout=TIMEOUT)
        if child:
            child.send_signal(signal.SIGKILL)
