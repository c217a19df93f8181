"""As much of a broker of MQTT 5 as it takes to send a subscriber what no real one would."""

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tests.support.servers import PATIENCE

_NO_PROPERTIES: Final = b"\x00"


class FakeBroker:
    """Lets each client in and grants its subscription, then does with the connection what it is told."""

    def __init__(
        self,
        behave: Callable[[socket.socket], None],
        *,
        handshake: bool = True,
        connack: bytes = b"\x00",
        suback: bytes = b"\x00",
    ) -> None:
        """Take what to do; without the handshake it begins as soon as there is a connection.

        `connack` and `suback` are the reason codes of the answers to login and subscription (3.2.2.2, 3.9.3).
        """
        self._behave = behave
        self._handshake = handshake
        self._connack = b"\x20\x03\x00" + connack + _NO_PROPERTIES
        self._suback = _NO_PROPERTIES + suback
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                connection.settimeout(PATIENCE)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        try:
            if self._handshake:
                connection.recv(65536)
                connection.sendall(self._connack)
                packet_id = connection.recv(65536)[2:4]
                connection.sendall(b"\x90\x04" + packet_id + self._suback)
            self._behave(connection)
            while connection.recv(65536):
                pass
        except OSError:  # the client has gone, or the test has
            return
