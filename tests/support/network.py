"""A stretch of network between a client and a server, which can be cut: nothing is delivered then, and nothing refused.

It forwards bytes, so TLS passes through. What it has taken and not delivered when it is cut, it delivers when it is
restored, as TCP does by sending again; unless the sender has reset the connection meanwhile, for then TCP does not.
"""

import socket
import struct
import threading
from contextlib import suppress
from typing import Self

_RESET = struct.pack("ii", 1, 0)
_CHUNK = 65536


class Link:
    """Listens on 127.0.0.1 and forwards to one address."""

    def __init__(self, target: tuple[str, int]) -> None:
        """Take where to forward to; it forwards at once."""
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._hears_clients = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.abandoned = 0  # connections that their client had reset when the link was restored
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.set()
        self._listener.close()
        for one in self._sockets:
            one.close()

    def cut(self) -> None:
        """Deliver nothing from now on; connections are still accepted, and stay silent."""
        self._whole.clear()

    def restore(self) -> None:
        """Deliver again, first what has been held up."""
        self._whole.set()

    def lose_what_clients_send(self) -> None:
        """Deliver nothing of what clients send from now on, now or later; they are not told."""
        self._hears_clients = False

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        self._whole.wait()
        with suppress(OSError):
            server = socket.create_connection(self._target)
            self._sockets.append(server)
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
            self._pump(client, server, from_client=True)

    def _pump(self, source: socket.socket, target: socket.socket, *, from_client: bool = False) -> None:
        """Copy one direction until it ends; a reset ends both."""
        try:
            while data := source.recv(_CHUNK):
                if not self._whole.is_set():
                    self._whole.wait()
                    if source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        self.abandoned += 1
                        raise ConnectionResetError
                if from_client and not self._hears_clients:
                    continue
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, target):
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
