"""Which brokers of others an instance may use: none within the cluster, on a node, or in the platform's network.

What is refused as an address is what the API's egress leaves out when the broker is given by name: one list, of
addresses that are special to everybody (https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-) and of
the platform's own ranges, each also in the IPv6 addresses that carry an IPv4 address.
"""

import re
from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Final

from customer_operator.errors import InstanceInvalid
from customer_operator.model import hostnames
from customer_operator.model.instance import ExternalBroker
from customer_operator.model.platform import Platform, Ranges

_FIELD: Final = "spec.mqtt.external.host"
_CURE: Final = "give the public name or address of a broker outside the platform"

# RFC 1918, RFC 6598, RFC 4193: where pods, Services and nodes usually are.
PRIVATE: Final[Ranges] = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)

_SPECIAL: Final[Ranges] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # unspecified: this host
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, among them the metadata services of most clouds
            "192.0.0.0/24",  # protocol assignments
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "168.63.129.16/32",  # the host of a virtual machine, at Azure
            "::/80",  # unspecified, loopback, IPv4-compatible and IPv4-mapped
            "64:ff9b:1::/48",  # NAT64 of local use (RFC 8215): where the IPv4 address is in it, nobody outside knows
            "2001::/32",  # Teredo
            "fe80::/10",  # link-local
            "fec0::/10",  # site-local
            "ff00::/8",  # multicast
            "fd00:ec2::254/128",  # metadata service of EC2
            "fd20:ce::254/128",  # metadata service of Google Compute Engine
        ),
    )
)
# Prefixes that an IPv4 address follows: NAT64 (RFC 6052) and 6to4 (RFC 3056).
_CARRIERS: Final[Sequence[IPv6Network]] = (IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16"))

# Cluster DNS, and the names reserved for use within a network: RFC 6761, RFC 6762, ICANN's .internal, RFC 8375.
_INSIDE: Final = ("localhost", "local", "internal", "home.arpa", "svc")
# No top-level domain begins with a digit (RFC 3696), so what does is an address in some notation: 127.1, 0x7f.1.
_TOP_LEVEL: Final = re.compile(r"[a-z]+|xn--[-a-z0-9]+")


def ranges(text: str) -> Ranges:
    """Return the address ranges of a list with commas; ValueError says how they must be."""
    try:
        return tuple(ip_network(item.strip()) for item in text.split(","))
    except ValueError as error:
        raise ValueError(f"must be address ranges such as 10.0.0.0/8,fc00::/7, and {error}") from error


@cache
def forbidden(platform_ranges: Ranges) -> Ranges:
    """Return all addresses at which no broker may be: special ones, and the platform's in every form."""
    plain = (*_SPECIAL, *platform_ranges)
    carried = [_carried(carrier, item) for item in plain if isinstance(item, IPv4Network) for carrier in _CARRIERS]
    return (
        *collapse_addresses(item for item in plain if isinstance(item, IPv4Network)),
        *collapse_addresses([*(item for item in plain if isinstance(item, IPv6Network)), *carried]),
    )


def outside(platform_ranges: Ranges) -> dict[str, list[str]]:
    """Return what may be reached: `0.0.0.0/0` and `::/0`, as far as anything is left, with what is cut out of each."""
    blocks = {}
    for whole in map(ip_network, ("0.0.0.0/0", "::/0")):
        holes = [item for item in forbidden(platform_ranges) if item.version == whole.version]
        if whole not in holes:
            blocks[str(whole)] = [str(item) for item in holes]
    return blocks


def check(external: ExternalBroker, platform: Platform) -> None:
    """Raise InstanceInvalid when a broker is, or by its name can only be, within the platform."""
    try:
        address = ip_address(external.host)
    except ValueError:
        _check_name(external.host, platform)
        return
    if any(address in item for item in forbidden(platform.cluster_ranges)):
        raise InstanceInvalid(
            _FIELD,
            f"{external.host} is an address within the platform (the operator's setting CLUSTER_RANGES), or one that "
            f"nobody outside has; {_CURE}",
        )


def _check_name(host: str, platform: Platform) -> None:
    if ":" in host:
        raise InstanceInvalid(_FIELD, f"{host} is no host; give the port in spec.mqtt.external.port")
    try:
        name = hostnames.canonical(host)
    except ValueError as error:
        raise InstanceInvalid(_FIELD, f"{error}; {_CURE}") from error
    if not _TOP_LEVEL.fullmatch(name.rpartition(".")[2]):
        raise InstanceInvalid(_FIELD, f"{host} is neither a public name nor an address as usually written; {_CURE}")
    if "." not in name or _is_inside(name):
        raise InstanceInvalid(_FIELD, f"{host} is a name within a cluster or network; {_CURE}")


def _is_inside(name: str) -> bool:
    """Tell whether a name ends as only those within a network do, or is a Service's under a cluster's own domain."""
    return any(hostnames.is_within(name, item) for item in _INSIDE) or ".svc." in name


def _carried(carrier: IPv6Network, network: IPv4Network) -> IPv6Network:
    """Return the IPv6 addresses in which this prefix carries addresses of the network."""
    length = carrier.prefixlen + network.prefixlen
    base = int(carrier.network_address) | int(network.network_address) << (128 - carrier.prefixlen - 32)
    return IPv6Network((base, length))
