"""Host names: how two are compared, which are the platform's own, and whose one is that several instances claim."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import idna

from customer_operator import naming
from customer_operator.errors import InstanceInvalid
from customer_operator.model.platform import Platform

_FIELD: Final = "spec.hostname"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123
# What an instance's name can be, within a host.
_ANY_NAME: Final = "[-a-z0-9]+"


@dataclass(frozen=True, order=True, slots=True)
class Claim:
    """An instance that asks for a hostname; the smaller claim comes first.

    One that serves it already comes before all that do not; then the older; of two of one second that of lower uid.
    """

    waits: bool
    created_at: datetime
    uid: str


def holder(claims: Iterable[Claim]) -> Claim:
    """Return, of all claims on one hostname, the one that keeps it; ValueError when there is none.

    Not simply the oldest instance: an old one could take away the host that a younger one has long served.
    """
    return min(claims)


def is_domain(name: str) -> bool:
    """Tell whether this is a DNS name in the form in which names are compared and written into objects."""
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def domain(name: str) -> str:
    """Return a domain as it is; ValueError when it is none in lower case."""
    if not is_domain(name):
        raise ValueError("must be a DNS name in lower case, without scheme, port or a dot at the end")
    return name


def template(text: str, *, base_domain: str) -> str:
    """Return a template for instances' hosts as it is; ValueError when it gives no host, or one host to two of them."""
    try:
        hosts = {text.format(name=name, base_domain=base_domain) for name in ("a" * 40, "b" * 40)}
    except (LookupError, AttributeError, ValueError) as error:
        raise ValueError("may contain {name} and {base_domain} only") from error
    if len(hosts) < 2:
        raise ValueError("must contain {name}, or all instances share one host")
    if not is_domain(max(hosts)):
        raise ValueError(f"must give a DNS name in lower case, and gives {max(hosts)!r}")
    return text


def canonical(name: str) -> str:
    """Return a name as names are compared: lower case, international labels encoded (RFC 5890), no dot at the end.

    Raises ValueError when it is no DNS name.
    """
    try:
        plain = idna.encode(name.strip().removesuffix("."), uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{name!r} is no DNS name") from error
    if not is_domain(plain):
        raise ValueError(f"{name!r} is no DNS name")
    return plain


def domains(text: str) -> tuple[str, ...]:
    """Return the domains of a list with commas, as names are compared; ValueError says how it must be."""
    try:
        return tuple(canonical(item) for item in text.split(","))
    except ValueError as error:
        raise ValueError(f"must be domains with commas between them, and {error}") from error


def is_within(host: str, parent: str) -> bool:
    """Tell whether a host is this domain or below it; both in the form in which names are compared."""
    return host == parent or host.endswith(f".{parent}")


def check(hostname: str, platform: Platform) -> None:
    """Raise InstanceInvalid when a hostname of a customer's own is no host name, or the platform's."""
    try:
        host = canonical(hostname)
    except ValueError as error:
        raise InstanceInvalid(_FIELD, f"{error}; give a host of a domain of your own") from error
    reserved = any(is_within(host, item) for item in (platform.base_domain, *platform.reserved_hosts))
    templates = (platform.web_host_template, platform.mqtt_host_template)
    if reserved or any(_fits(host, template, platform.base_domain) for template in templates):
        raise InstanceInvalid(
            _FIELD, f"{hostname} belongs to the platform (BASE_DOMAIN, RESERVED_HOSTS); use a domain of your own"
        )


def check_name(name: str, platform: Platform) -> None:
    """Raise InstanceInvalid when the hosts that an instance gets by its name are among the platform's own."""
    reserved = [
        item for item in platform.reserved_hosts if not any(is_within(host, item) for host in _others(platform))
    ]
    for host in _own(name, platform):
        if any(is_within(host, item) for item in reserved):
            raise InstanceInvalid("metadata.name", f"{host} belongs to the platform (RESERVED_HOSTS); use another name")


def _own(name: str, platform: Platform) -> tuple[str, str]:
    return (
        naming.web_host(name, platform.base_domain, platform.web_host_template),
        naming.mqtt_host(name, platform.base_domain, platform.mqtt_host_template),
    )


def _others(platform: Platform) -> tuple[str, str]:
    """Return the hosts of a name that no instance has: what is reserved above these is so for spec.hostname only."""
    return _own("x" * 41, platform)


def _fits(host: str, template: str, base_domain: str) -> bool:
    """Tell whether a host could be that of some instance, by the platform's template for hosts."""
    parts = template.format(name="\0", base_domain=base_domain).split("\0")
    return re.fullmatch(_ANY_NAME.join(map(re.escape, parts)), host) is not None
