"""Free ports that stay ours.

A port that is merely "found free" may be taken before the server that should use it listens. Here each port stays
bound, without listening, for the life of the cluster. Linux lets a second socket bind and listen on it when both
set SO_REUSEADDR (socket(7)), as every Go server does, while nobody is given the port as a free one.
"""

import socket
from collections.abc import Sequence


class PortReservation:
    """Ports on 127.0.0.1, free ones or the given, reserved until `release` or the end of the process."""

    def __init__(self, count: int, *, given: Sequence[int] = ()) -> None:
        self._sockets = [self._reserve(port) for port in given or [0] * count]
        self.ports: list[int] = [reserved.getsockname()[1] for reserved in self._sockets]

    @staticmethod
    def _reserve(port: int) -> socket.socket:
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        reserved.bind(("127.0.0.1", port))
        # Set only now: before the bind it would let the kernel hand out a port that another reservation holds.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return reserved

    def release(self) -> None:
        """Give the ports back."""
        for reserved in self._sockets:
            reserved.close()
