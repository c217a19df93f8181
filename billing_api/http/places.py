"""Where a client is, as far as its address tells: what is counted and bounded together."""

import ipaddress
from dataclasses import dataclass

#: What one customer of a provider gets: an IPv4 address; of IPv6 a /64 at least (RFC 6177), in which a host may take
#: any address it likes (RFC 8981).
_ADDRESS_BITS = {4: 32, 6: 64}
#: What one may get for little: a /24 of IPv4, a /48 of IPv6 (RFC 6177), which has 65,536 of the above.
_NETWORK_BITS = {4: 24, 6: 48}
#: How much more than one address a network may ask for; an office, a university or a carrier's NAT sits in one.
NETWORK_FACTOR = 10


@dataclass(frozen=True, kw_only=True)
class Place:
    """An address (IPv6: its /64) and the network that it is part of, as text."""

    address: str
    network: str


def place_of(client: str) -> Place:
    """Return where a client is; one that is no IP address, such as that of a Unix socket, is a place of its own."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return Place(address=client, network=client)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    version = address.version
    return Place(address=_prefix(address, _ADDRESS_BITS[version]), network=_prefix(address, _NETWORK_BITS[version]))


def _prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
