"""Licenses: RS256 JWTs, verified against the keys the operator mounts, read into what they entitle to.

The form is RFC 7519 (`iss`, `aud`, `iat`, `nbf`, `exp`) with the platform's claims plan, features and limits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import jwt

from customer_operator.errors import LicenseRejected
from customer_operator.licensing import claims as read_claim
from customer_operator.model.instance import Plan
from customer_operator.model.plans import PLANS, Features, Limits

T = TypeVar("T")

ALGORITHM = "RS256"
LEEWAY_SECONDS = 30  # between the clocks of billing and operator


class LicenseState(StrEnum):
    """What status.license.state says."""

    NONE = "None"
    VALID = "Valid"
    GRACE = "Grace"
    EXPIRED = "Expired"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a verified license grants, until when, and by which key it was signed.

    Features and limits that it does not name are its plan's.
    """

    plan: Plan
    expires_at: datetime
    key_id: str
    features: Features
    limits: Limits

    def state(self, *, now: datetime, grace: timedelta) -> LicenseState:
        """Return Valid, then Grace for the given time after the expiry, then Expired."""
        if now < self.expires_at:
            return LicenseState.VALID
        return LicenseState.GRACE if now < self.expires_at + grace else LicenseState.EXPIRED


def audience(instance_name: str) -> str:
    """Return the audience of an instance's license: one per instance, so that none can be replayed on another."""
    return f"customer-instance:{instance_name}"


class Keys(Protocol):
    """Where the public keys are."""

    def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id; None when it is not trusted."""


def verify(token: str, *, keys: Keys, issuer: str, instance_name: str) -> Entitlement:
    """Return what the license grants; expiry is the caller's to judge, because of the grace period.

    Raises LicenseRejected naming what is wrong and what to do about it. The algorithm is ours, never the token's.
    """
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
    except jwt.PyJWTError as error:
        raise LicenseRejected("it is not a JWT; copy the license again, whole") from error
    key = keys.get(key_id)
    if key is None:
        raise LicenseRejected(
            f"it is signed with the key {key_id[:64]!r}, which the operator does not know; "
            "add that key to the operator's JWKS or issue the license again"
        )
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=audience(instance_name),
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp"], "verify_exp": False},
        )
    except jwt.PyJWTError as error:
        raise LicenseRejected(_explain(error, issuer=issuer, instance_name=instance_name)) from error
    return _entitlement(claims, key_id)


def _entitlement(claims: Mapping[str, Any], key_id: str) -> Entitlement:
    try:
        plan = Plan(claims["plan"])
        expires_at = datetime.fromtimestamp(int(claims["exp"]), tz=UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        plans = ", ".join(Plan)
        raise LicenseRejected(
            f"its claims plan or exp cannot be read; plan must be one of {plans}, exp a time"
        ) from error
    return Entitlement(
        plan=plan,
        expires_at=expires_at,
        key_id=key_id,
        features=_claim(claims, "features", read=read_claim.features, default=PLANS[plan].features),
        limits=_claim(claims, "limits", read=read_claim.limits, default=PLANS[plan].limits),
    )


def _claim(claims: Mapping[str, Any], name: str, *, read: Callable[[Any], T], default: T) -> T:
    if claims.get(name) is None:
        return default
    try:
        return read(claims[name])
    except ValueError as error:
        raise LicenseRejected(f"its claim {name} {error}; issue it again") from error


def _explain(error: jwt.PyJWTError, *, issuer: str, instance_name: str) -> str:
    match error:
        case jwt.InvalidAudienceError():
            return f"it was issued for another instance; its aud must be {audience(instance_name)!r}"
        case jwt.InvalidIssuerError():
            return f"it was issued by somebody else; its iss must be {issuer!r}"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet; check nbf, iat and the clocks"
        case jwt.MissingRequiredClaimError():
            return f"it lacks the claim {error.claim!r}; issue it again"
        case jwt.InvalidSignatureError():
            return "its signature does not verify; copy the license again, whole, or issue it again"
        case _:
            return "it cannot be verified; issue it again"
