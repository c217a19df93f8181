"""Pure readings of certificates: what cert-manager has issued, and what a broker mounts.

Both are told by the same four facts, so that what a broker mounts is known to be in use, and until when, even while the
Certificate it came from is missing, changed or not Ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from customer_operator import naming
from customer_operator.model.hashing import hash_of
from customer_operator.model.timestamps import parse_time

TLS_VOLUME: Final = "tls"  # of a broker's pod


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate in a Secret of cert-manager's: the Secret's name, a hash of which one it is, its end (RFC 3339)."""

    secret: str
    hash: str
    expires_at: str

    def holds(self, now: datetime) -> bool:
        """Tell whether it is still valid."""
        end = parse_time(self.expires_at)
        return end is not None and now < end


def condition(live: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of a live object's status; empty when it has none of this type."""
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item["type"] == kind), {})


def is_ready(live: Mapping[str, Any]) -> bool:
    """Tell whether a Certificate's Secret holds what its present spec asks for."""
    ready = condition(live, "Ready")
    current = ready.get("observedGeneration", 0) >= live["metadata"].get("generation", 1)
    return current and ready.get("status") == "True"


def of(live: Mapping[str, Any]) -> IssuedCertificate | None:
    """Return what a live Certificate has brought, or what a live StatefulSet mounts; None for nothing of the kind."""
    match live["kind"]:
        case "Certificate":
            return _issued(live)
        case "StatefulSet":
            return _mounted(live)
        case _:
            return None


def _issued(live: Mapping[str, Any]) -> IssuedCertificate | None:
    """Tell certificates apart by their validity, which cert-manager writes together with Ready, once for each.

    The revision comes with another write, and is lost when a Certificate is deleted and created again.
    """
    status = live.get("status") or {}
    if not is_ready(live) or "notAfter" not in status:
        return None
    secret = live["spec"]["secretName"]
    which = hash_of([secret, status.get("notBefore"), status["notAfter"]])
    return IssuedCertificate(secret=secret, hash=which, expires_at=status["notAfter"])


def _mounted(live: Mapping[str, Any]) -> IssuedCertificate | None:
    template = live["spec"]["template"]
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    volumes = template["spec"].get("volumes") or ()
    names = [(item.get("secret") or {}).get("secretName") for item in volumes if item["name"] == TLS_VOLUME]
    try:
        which = annotations[naming.CERTIFICATE_HASH_ANNOTATION]
        return IssuedCertificate(str(names[0]), which, annotations[naming.CERTIFICATE_EXPIRY_ANNOTATION])
    except (KeyError, IndexError):
        return None


def requested(live: Mapping[str, Any]) -> str | None:
    """Return the name of the Certificate that was asked for on behalf of a live object, by the object's own mark."""
    value = (live["metadata"].get("annotations") or {}).get(naming.CERTIFICATE_ANNOTATION)
    return value if isinstance(value, str) else None
