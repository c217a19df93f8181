"""TLS as a device does it, and what a broker that is not trusted may cost: bytes and time."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

from customer_operator.reachability.target import Target

_LARGEST_SESSION: Final = 16384  # bytes; a good one receives a hundred
_GRACE: Final = 0.5  # seconds after the deadline: by then all that ends by itself has ended


@contextmanager
def _cut(sock: socket.socket, seconds: float) -> Iterator[None]:
    """End a connection after so many seconds, whatever is being read from it.

    OpenSSL reads what is no data, as session tickets, for as long as more of it comes, and returns to nobody meanwhile.
    """
    with sock.dup() as same:
        timer = threading.Timer(seconds, _shut, [same])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _FrugalSocket(ssl.SSLSocket):
    """Reads no more than a whole session has; paho would gather packets of up to 256 MiB."""

    received = 0

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive as the base does; ConnectionError past the limit."""
        data = super().recv(min(buflen, _LARGEST_SESSION), flags)
        self.received += len(data)
        if self.received > _LARGEST_SESSION:
            raise ConnectionError("it sends too much")
        return data


class NamedContext(ssl.SSLContext):
    """Names, and verifies, the broker's host instead of what is connected to; a handshake that fails closes the socket.

    paho asks for the handshake after this, and finds it done.
    """

    sslsocket_class = _FrugalSocket
    host = ""
    left: Callable[[], float]
    cleanup: ExitStack
    began = False

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> ssl.SSLSocket:
        """Shake hands before the deadline."""
        self.began = True
        self.cleanup.enter_context(_cut(sock, self.left() + _GRACE))
        sock.settimeout(max(self.left(), 0.001))
        try:
            return super().wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise


def context(target: Target, *, left: Callable[[], float], cleanup: ExitStack) -> NamedContext:
    """Return what trusts as the target says; `left` gives the seconds until the deadline.

    What it opens for itself is closed with `cleanup`. Raises SSLError and ValueError for what is no certificate.
    """
    made = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.host, made.left, made.cleanup = target.host, left, cleanup
    if target.trust is None:
        made.load_default_certs()
    else:
        made.load_verify_locations(cadata=target.trust)
    return made
