"""Processes are told apart safely, and none outlives its purpose."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hack.errors import ClusterError
from hack.paths import PROJECT_ROOT
from hack.processes import ProcessIdentity, end_process, identify
from hack.supervisor.connection import SupervisorConnection
from hack.supervisor.ports import PortReservation
from hack.supervisor.state import SupervisorState, read_state, write_state

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


def connect(folder: Path, *, port_count: int = 0) -> SupervisorConnection:
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    state = folder / "state.json"
    return SupervisorConnection(folder, logs=logs, state=state, port_count=port_count, settings={"nodes": 4})


def start_sleeper(connection: SupervisorConnection, name: str = "sleeper") -> None:
    connection.start(name, arguments=SLEEP, endpoint="https://127.0.0.1:1", health_path="/healthz")


def recorded(folder: Path) -> SupervisorState:
    state = read_state(folder / "state.json")
    assert state is not None
    return state


def recorded_process(folder: Path, name: str = "sleeper") -> ProcessIdentity:
    process = recorded(folder).components[name].process
    assert process is not None
    return process


def test_a_process_is_known_while_it_runs_and_not_as_a_zombie(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper.pid)
    assert identity.is_alive()
    assert 0 <= identity.uptime() < TIMEOUT
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    assert not identity.is_alive()
    assert identity.uptime() == 0.0


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


def test_the_supervisor_starts_records_and_ends_components(tmp_path: Path) -> None:
    connection = connect(tmp_path, port_count=2)
    start_sleeper(connection)
    process = recorded_process(tmp_path)
    assert len(connection.ports) == 2
    assert process.is_alive()
    assert recorded(tmp_path).settings == {"nodes": 4}
    connection.close()
    assert not process.is_alive()
    assert not (tmp_path / "state.json").exists()


def test_a_stopped_component_is_recorded_and_can_be_started_again(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    start_sleeper(connection)
    first = recorded_process(tmp_path)
    connection.stop("sleeper")
    assert recorded(tmp_path).components["sleeper"].exit_code == -signal.SIGKILL
    assert not first.is_alive()
    start_sleeper(connection)
    assert recorded_process(tmp_path) != first
    connection.close()


def test_a_component_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    with pytest.raises(ClusterError, match=r"start missing: .*No such file"):
        connection.start("missing", arguments=["/nonexistent"], endpoint="", health_path="")
    connection.close()


def test_a_component_runs_once_at_most(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    start_sleeper(connection)
    with pytest.raises(ClusterError, match="sleeper is running already"):
        start_sleeper(connection)
    connection.close()


def test_components_get_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somewhere/else")
    connection = connect(tmp_path)
    connection.start("env", arguments=["env"], endpoint="", health_path="")
    if process := recorded(tmp_path).components["env"].process:
        assert process.wait(timeout=TIMEOUT)
    connection.close()
    environment = (tmp_path / "logs" / "env.log").read_text(encoding="utf-8").splitlines()
    assert f"HOME={tmp_path}" in environment
    assert not [line for line in environment if line.startswith("KUBECONFIG")]


def test_a_detached_supervisor_outlives_the_connection_until_it_is_told_to_end(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    start_sleeper(connection)
    supervisor, process = recorded(tmp_path).supervisor, recorded_process(tmp_path)
    connection.detach()
    assert not process.wait(timeout=0.3)
    end_process(supervisor, grace=TIMEOUT)
    assert process.wait(timeout=TIMEOUT)


@pytest.mark.parametrize("victim", ["starter", "supervisor", "starter with a forked child"])
def test_killing_a_parent_ends_everything_below_it(tmp_path: Path, victim: str) -> None:
    program = textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from hack.supervisor.connection import SupervisorConnection
        folder = Path(sys.argv[1])
        connection = SupervisorConnection(folder, logs=folder, state=folder / "state.json", port_count=0, settings={})
        connection.start("sleeper", arguments=["sleep", "60"], endpoint="", health_path="")
        child = os.fork() if "forked" in sys.argv[2] else None
        if child != 0:
            print(child or 0, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", program, str(tmp_path), victim]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT_ROOT) as starter:
        assert starter.stdout is not None
        child = identify(int(starter.stdout.readline()))
        supervisor, process = recorded(tmp_path).supervisor, recorded_process(tmp_path)
        if victim == "supervisor":
            supervisor.send_signal(signal.SIGKILL)
        else:
            starter.kill()
        assert process.wait(timeout=TIMEOUT)
        assert supervisor.wait(timeout=TIMEOUT)
        starter.kill()
        if child:
            child.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("content", ["", "{", "null", json.dumps({"supervisor": {"pid": 1}})])
def test_a_damaged_state_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content, encoding="utf-8")
    assert read_state(tmp_path / "state.json") is None


def test_the_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = SupervisorState(supervisor=identity_of(os.getpid()), settings={"nodes": 2})
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
