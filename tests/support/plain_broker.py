"""Mosquitto without the plugin: whoever may log in is in its own password file."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.ports import PortReservation
from tests.support.mqtt import Login
from tests.support.servers import Server
from tests.support.tenant_broker import find_mosquitto

# Statistics every second instead of ten; `user` keeps the files readable when root runs the tests; only what is written
# to stderr is there at once.
_CONFIG = """\
user root
sys_interval 1
persistence false
log_dest stderr
log_type error
log_type warning
log_type notice
"""


class PlainBroker:
    """A broker on a port of its own; it may be started again after it has ended."""

    def __init__(
        self,
        folder: Path,
        *,
        logins: Sequence[Login] = (),
        listener: Mapping[str, str | Path] | None = None,
        topics: Sequence[str] = (),
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Take an empty folder; without logins everybody is let in.

        `listener` holds further options of the only listener, `topics` the lines of an ACL file. A port that is given
        is the caller's to reserve.
        """
        self._ports = PortReservation(0 if port else 1)
        self.address, self.port = address, port or self._ports.ports[0]
        self._configuration = folder / "mosquitto.conf"
        lines = [f"listener {self.port} {address}", *(f"{name} {value}" for name, value in (listener or {}).items())]
        lines.append(f"allow_anonymous {str(not logins).lower()}")
        if logins:
            lines.append(f"password_file {_password_file(folder / 'passwords', logins)}")
        if topics:
            (folder / "acl").write_text("".join(f"{line}\n" for line in topics), encoding="utf-8")
            lines.append(f"acl_file {folder / 'acl'}")
        self._configuration.write_text("\n".join([*lines, _CONFIG]), encoding="utf-8")
        self._program = find_mosquitto()
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The broker's process, the last one if it has been started several times."""
        assert self._server is not None
        return self._server

    def start(self) -> None:
        """Start the broker and wait until it listens."""
        self._server = Server([self._program, "-c", self._configuration], environment={})
        self._server.wait_for_port(self.port, address=self.address)

    def visits(self) -> int:
        """Return how many MQTT clients it has let in since it was started."""
        return self.server.log.count("New client connected")

    def kill(self) -> None:
        """End it without a chance to say so, and wait for the end."""
        self.server.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Keep it from running, with all its connections open."""
        os.kill(self.server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.server.pid, signal.SIGCONT)

    def close(self) -> None:
        """End all that is left, also what is frozen."""
        if self._server is not None:
            self.kill()
        self._ports.release()


def _password_file(path: Path, logins: Sequence[Login]) -> Path:
    path.write_text("".join(f"{login.username}:{login.password}\n" for login in logins), encoding="utf-8")
    subprocess.run([find_mosquitto("mosquitto_passwd"), "-U", path], check=True)
    return path
