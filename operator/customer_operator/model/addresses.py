"""Where to connect to, as a setting names it: host and port, with placeholders for what differs."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from customer_operator.model import hostnames

_FORM: Final = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_EXAMPLE: Final = "mqtt.example.com"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host name or IP address, and a port."""

    host: str
    port: int


def template(text: str) -> str:
    """Return a template for an endpoint as it is; ValueError says how it must be."""
    endpoint(text, host=_EXAMPLE, router_namespace="default")
    return text


def endpoint(text: str, *, host: str, router_namespace: str) -> Endpoint:
    """Return the endpoint that a template gives; ValueError says how the template must be."""
    try:
        filled = text.format(host=host, router_namespace=router_namespace)
    except (LookupError, AttributeError, ValueError) as error:
        raise ValueError("may contain {host} and {router_namespace} only") from error
    found = _FORM.fullmatch(filled)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError("must be host:port, an IPv6 address in brackets, as in router.example.com:8883")
    name = found["address"] or found["host"]
    if not _is_address(name) and (found["address"] or not hostnames.is_domain(name)):
        raise ValueError(f"must name a host in lower case or an address, and names {name!r}")
    return Endpoint(name, int(found["port"]))


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
