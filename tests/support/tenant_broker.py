"""The broker's pod as a process of this machine: mosquitto with its plugin, configured by the manifests.

The plugin is mosquitto-go-auth where BINARIES_DIR has it, and otherwise the project's stand-in for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from customer_operator.naming import Manifest
from customer_operator.settings import Settings
from hack.images.plugin import build_plugin, given_plugin, missing_packages
from hack.ports import PortReservation
from tests.support.pods import Pod, replace_each
from tests.support.servers import Server, need_program

_CONTAINER = "mosquitto"
_PLUGIN_IN_IMAGE = "/mosquitto/go-auth.so"


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The broker's program, its plugin where the pod's user may read it, and variables for both."""

    mosquitto: Path
    plugin: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find_mosquitto(program: str = "mosquitto") -> Path:
    """Return the broker's program, or another of its package; skips the test when there is none."""
    return need_program(program, of="Mosquitto")


def find_plugin() -> Path:
    """Return mosquitto-go-auth where it is given, otherwise the stand-in for it."""
    return given_plugin() or find_stand_in()


def find_stand_in() -> Path:
    """Return the stand-in for mosquitto-go-auth; skips the test when it cannot be built here."""
    need_compiler()
    return build_plugin()


@cache
def need_compiler() -> None:
    """Skip the test when the stand-in cannot be built here."""
    if missing := missing_packages():
        image = Settings.model_construct().image_mosquitto
        pytest.skip(
            f"no plugin for the broker: apt-get install {' '.join(missing)}, to build a stand-in; or copy "
            f"{_PLUGIN_IN_IMAGE} of the image {image} to a folder, and set BINARIES_DIR to it"
        )


class TenantBroker:
    """A broker with ports and a volume of its own; it may be started again after it was stopped."""

    def __init__(
        self,
        manifests: Sequence[Manifest],
        *,
        root: Path,
        programs: Programs,
        database_port: int,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        """Take the stack's objects and an empty folder; `changes` are made in the configuration as well."""
        self._pod = Pod(manifests, workload="mosquitto", root=root)
        self.configuration = root / "local.conf"
        self._programs = programs
        self._ports = PortReservation(3)
        self.plain, self.tls, self.websocket = self._ports.ports
        self._server: Server | None = None
        self._configure({**self._local(database_port), **(changes or {})})

    @property
    def server(self) -> Server:
        """The broker's process, the last one if it has been started several times."""
        assert self._server is not None
        return self._server

    @property
    def probed_ports(self) -> list[int]:
        """Where the kubelet knocks."""
        container = self._pod.container(_CONTAINER)
        ports = {"mqtt": self.plain, "mqtts": self.tls, "websocket": self.websocket}
        probes = ("startupProbe", "readinessProbe", "livenessProbe")
        return [ports[container[probe]["tcpSocket"]["port"]] for probe in probes]

    def launch(self) -> None:
        """Start the broker without waiting for it."""
        command: list[str | Path] = [self._programs.mosquitto, "-c", self.configuration]
        self._server = Server(command, environment=self._programs.environment, user=self._pod.user())

    def start(self) -> None:
        """Start the broker and wait until it listens."""
        self.launch()
        self.wait_until_running()

    def wait_until_running(self) -> None:
        """Wait until it has opened its listeners."""
        for port in self._ports.ports:
            self.server.wait_for_port(port)

    def stop(self) -> None:
        """End it as the kubelet does; it saves what it has."""
        assert self.server.stop() == 0, self.server.log

    def close(self) -> None:
        """End all that is left."""
        if self._server is not None:
            self._server.stop()
        self._ports.release()

    def _configure(self, changes: Mapping[str, str]) -> None:
        given = self._pod.file(_CONTAINER, "/etc/mosquitto/mosquitto.conf").read_text(encoding="utf-8")
        self.configuration.write_text(replace_each(given, changes), encoding="utf-8")
        self._pod.give(self.configuration, 0o440)

    def _local(self, database_port: int) -> dict[str, str]:
        """What differs between a pod and this machine: addresses, and where the files are. Nothing else does."""
        data = self._pod.mounts(_CONTAINER)["/var/lib/mosquitto"]
        certificate, key = (self._pod.file(_CONTAINER, f"/etc/mosquitto-tls/tls.{part}") for part in ("crt", "key"))
        return {
            "\nlistener 1883\n": f"\nlistener {self.plain} 127.0.0.1\n",
            "\nlistener 8883\n": f"\nlistener {self.tls} 127.0.0.1\n",
            "\nlistener 9001\n": f"\nlistener {self.websocket} 127.0.0.1\n",
            "\ncertfile /etc/mosquitto-tls/tls.crt\n": f"\ncertfile {certificate}\n",
            "\nkeyfile /etc/mosquitto-tls/tls.key\n": f"\nkeyfile {key}\n",
            "\npersistence_location /var/lib/mosquitto/\n": f"\npersistence_location {data}/\n",
            f"\nauth_plugin {_PLUGIN_IN_IMAGE}\n": f"\nauth_plugin {self._programs.plugin}\n",
            "\nauth_opt_pg_host postgres\n": "\nauth_opt_pg_host 127.0.0.1\n",
            "\nauth_opt_pg_port 5432\n": f"\nauth_opt_pg_port {database_port}\n",
        }
