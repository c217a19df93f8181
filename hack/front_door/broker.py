"""Mosquitto with TLS and without logins, on one port of any number of loopback addresses."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hack.servers import Server, find_program

# `user` keeps the files readable when root runs it. No limit on what waits for a subscriber, which would be dropped.
# set_tcp_nodelay as in the product's own configuration.
_CONFIG: Final = """\
user root
persistence false
log_dest stderr
log_type error
log_type warning
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
"""


class Broker:
    """A broker, started at once; it listens when the constructor returns."""

    def __init__(self, folder: Path, *, tls: Mapping[str, Path], addresses: Sequence[str], port: int) -> None:
        """Take an empty folder, the options of its listeners (Authority.files), and where to listen."""
        program = find_program("mosquitto", of="Mosquitto")
        self.port = port
        options = "".join(f"{name} {value}\n" for name, value in tls.items())
        listeners = "".join(f"listener {port} {address}\n{options}" for address in addresses)
        configuration = folder / "mosquitto.conf"
        configuration.write_text(_CONFIG + listeners, encoding="utf-8")
        self._server = Server([program, "-c", configuration], environment={})
        self._server.wait_for_port(port, address=addresses[-1])

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._server.pid

    def close(self) -> None:
        """End it."""
        self._server.stop(signal.SIGTERM)
