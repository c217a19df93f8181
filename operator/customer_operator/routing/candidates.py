"""What an instance asks of the front door: read from its status and its Service, and checked; pure.

The host is the one in its status, which its customer has been told. The address is that of the Service for devices,
which is of type ClusterIP only where devices are to come through the front door.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from customer_operator import naming
from customer_operator.errors import InstanceInvalid
from customer_operator.model import hostnames
from customer_operator.model.hostnames import Claim
from customer_operator.model.platform import Platform
from customer_operator.status.record import Phase, read_status
from mqtt_router.routes import Route

_SCHEME: Final = "mqtts://"
# Their brokers are stopped, or about to be: what devices would find is nobody.
_WITHOUT: Final = (Phase.SUSPENDED, Phase.DELETING)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that an instance asks for, as it was found; `claim` decides when another one asks for the same host."""

    host: str
    address: str
    port: int
    claim: Claim


def candidate_of(body: Mapping[str, Any], endpoint: tuple[str, int] | None) -> Candidate | None:
    """Return what an instance asks for, given address and port of its Service; None when devices come another way."""
    metadata, status = body["metadata"], read_status(body)
    url = (status.written.get("urls") or {}).get("mqtt", "")
    if endpoint is None or metadata.get("deletionTimestamp") or status.phase in _WITHOUT or not url.startswith(_SCHEME):
        return None
    address, port = endpoint
    created_at = datetime.fromisoformat(metadata["creationTimestamp"])
    claim = Claim(waits=False, created_at=created_at, uid=metadata["uid"])
    return Candidate(host=_host(url), address=address, port=port, claim=claim)


def _host(url: str) -> str:
    rest = url.removeprefix(_SCHEME)
    return rest.rpartition(":")[0] or rest


def admit(name: str, candidate: Candidate, platform: Platform) -> Route:
    """Return the route of an instance; ValueError, which does not show what was found, when it cannot be published.

    A host is either the instance's own by its name, or one that is not the platform's: no instance gets another's.
    """
    route = Route(candidate.host, candidate.address, candidate.port)
    if route.host != naming.mqtt_host(name, platform.base_domain, platform.mqtt_host_template):
        try:
            hostnames.check(route.host, platform)
        except InstanceInvalid as error:
            raise ValueError("the host is the platform's, and not this instance's") from error
    return route
