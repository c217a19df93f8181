"""Who a request is from: the peer, or whom the proxies in front of us name, if they are ours.

Anybody can write an X-Forwarded-For. Each proxy appends the address it was called from, so the list is read from the
right, and only as far as the names on it are proxies of ours (MDN, "X-Forwarded-For": selecting an IP address).
"""

import ipaddress
import logging
import re
from collections.abc import Iterable, Sequence
from itertools import chain

from starlette.types import ASGIApp, Receive, Scope, Send

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: RFC 7239 section 6: an address may have a port, and an IPv6 address then has brackets.
_WITH_PORT = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](:[0-9]{1,5})?|(?P<v4>[0-9.]+)(:[0-9]{1,5})?")

log = logging.getLogger(__name__)


def parse(text: str) -> Address | None:
    """Return the address in one entry of an X-Forwarded-For, without its port; None when there is none.

    An IPv4 address in IPv6 form (``::ffff:10.0.0.1``) is returned as IPv4: a socket that takes both shows it so.
    """
    text = text.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match["v6"] or match["v4"]
    if "%" in text:  # a zone means something on one host only
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class TrustedProxies:
    """The networks whose word about others is taken."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: Sequence[Network] = [ipaddress.ip_network(network) for network in networks]

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def client(self, peer: Address, forwarded_for: Iterable[str]) -> Address:
        """Return who the request is from.

        Args:
            peer: who has connected to us.
            forwarded_for: the values of all X-Forwarded-For headers, in their order.
        """
        client = peer
        # Empty elements of a list are to be ignored (RFC 9110 section 5.6.1).
        entries = [entry for value in forwarded_for for entry in value.split(",") if entry.strip()]
        for entry in reversed(entries):
            if client not in self:
                break
            named = parse(entry)
            if named is None:
                # "unknown", or garbage: who said it is the last one that we know.
                break
            client = named
        return client


class ClientAddress:
    """ASGI middleware: puts the client, and the scheme it used, into the scope."""

    def __init__(self, app: ASGIApp, trusted_proxies: Iterable[str]) -> None:
        self._app = app
        self._proxies = TrustedProxies(trusted_proxies)
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            self._look(scope)
        await self._app(scope, receive, send)

    def _look(self, scope: Scope) -> None:
        host, port = scope.get("client") or ("", 0)
        forwarded_for = _values(scope, b"x-forwarded-for")
        peer = parse(host)
        if peer is None or peer not in self._proxies:
            if forwarded_for:
                self._warn(host)
            client = peer
        else:
            client = self._proxies.client(peer, forwarded_for)
            scope["scheme"] = _scheme(scope) or scope.get("scheme", "http")
        if client is not None:
            scope["client"] = (str(client), port if client == peer else 0)

    def _warn(self, peer: str) -> None:
        """Tell it once: without it, all the world behind one proxy shares the limits of one address."""
        if not self._warned:
            self._warned = True
            log.warning(
                "X-Forwarded-For from %s is ignored, and every request of it counts for that one address. "
                "If that is your proxy or load balancer, set TRUSTED_PROXIES to its address or network",
                peer or "a peer without an address",
            )


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


def _scheme(scope: Scope) -> str | None:
    """Return what the nearest proxy, the last to write, says of how it was called; None when it says nothing sound."""
    said = list(chain.from_iterable(value.split(",") for value in _values(scope, b"x-forwarded-proto")))
    scheme = said[-1].strip().lower() if said else ""
    return scheme if scheme in {"http", "https"} else None
