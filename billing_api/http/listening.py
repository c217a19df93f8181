"""The sockets to listen on, taken before anything else is begun: a port in use must not cost a start half done."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from billing_api.errors import SettingsError


@contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Give sockets bound to every address of a host, not listening yet; they are closed with the block.

    Args:
        host: an address, or a name of this machine.
        port: 0 takes a free one, the same for every address.

    Raises:
        SettingsError: that cannot be done here; names PORT or HOST, and the cure.
    """
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        failure: OSError | None = None
        for family, address in _addresses(host, port):
            made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            taken = sockets[0].getsockname()[1] if sockets else port
            try:
                _bind(made, (address[0], taken, *address[2:]))
            except OSError as error:
                failure = _worse(failure, error)
            else:
                sockets.append(made)
        # localhost may name an address of IPv6 where there is none; every other failure counts.
        if failure and (not sockets or failure.errno != errno.EADDRNOTAVAIL):
            raise refusal(failure, host=host, port=port)
        yield sockets


def refusal(error: OSError, *, host: str, port: int) -> SettingsError:
    """Return in our words why the system does not let us listen there."""
    match error.errno:
        case errno.EADDRINUSE:
            return SettingsError(f"PORT: {port} is in use on {host}; choose another, or 0 for any that is free")
        case errno.EACCES:
            return SettingsError(f"PORT: {port} is for privileged users only; choose one from 1024, or 0")
        case _:
            return SettingsError(
                f"HOST: {host} is no address of this machine ({error.strerror}); use 127.0.0.1 or 0.0.0.0"
            )


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int, *tuple[int, ...]]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not a host name"
        raise SettingsError(f"HOST: must be an address or a name of this machine, and is not ({why})") from None
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _bind(made: socket.socket, address: tuple[object, ...]) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if made.family == socket.AF_INET6:
        # Or it would take the addresses of IPv4, too, which have a socket of their own.
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(address)


def _worse(one: OSError | None, other: OSError) -> OSError:
    return one if one is not None and one.errno != errno.EADDRNOTAVAIL else other
