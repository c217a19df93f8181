"""Licenses: RS256 JWTs that tell a customer's instance what it may do.

The contract with the operator: ``kid`` chooses the key from the JWKS; ``iss`` is LICENSE_ISSUER; ``aud`` is
``customer-instance:<instance name>``, so that a license is worth nothing to another instance; ``sub`` is the customer;
``seq`` numbers the customer's licenses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt

from billing_api.db.licenses import License
from billing_api.licensing.keys import SigningKey


@dataclass(frozen=True, kw_only=True)
class Entitlements:
    """What a plan grants, under the names of requirements 002; -1 means without limit."""

    features: Mapping[str, int | bool]
    limits: Mapping[str, int]


def _entitlements(*, devices: int, days: int, webhooks: bool, messages: int, requests: int) -> Entitlements:
    return Entitlements(
        features={
            "maxDevices": devices,
            "dataRetentionDays": days,
            "alerting": True,
            "apiAccess": True,
            "webhooks": webhooks,
        },
        limits={"mqttMessagesPerDay": messages, "apiRequestsPerDay": requests},
    )


#: Requirements 002 "License JWT Payload" gives the figures of starter; a trial is a starter for 14 days.
#: The documents give none for the two larger plans: theirs grow tenfold a step.
ENTITLEMENTS: Mapping[str, Entitlements] = {
    "trial": _entitlements(devices=10, days=90, webhooks=False, messages=100_000, requests=10_000),
    "starter": _entitlements(devices=10, days=90, webhooks=False, messages=100_000, requests=10_000),
    "professional": _entitlements(devices=100, days=365, webhooks=True, messages=1_000_000, requests=100_000),
    "enterprise": _entitlements(devices=-1, days=730, webhooks=True, messages=-1, requests=-1),
}


@dataclass(frozen=True, kw_only=True)
class Term:
    """Who a license is for, and from when to when."""

    customer_id: str
    instance_name: str
    plan: str
    issued_at: datetime
    expires_at: datetime


def audience(instance_name: str) -> str:
    """Return the ``aud`` claim that an instance accepts."""
    return f"customer-instance:{instance_name}"


def claims(term: Term, *, issuer: str, jti: UUID, sequence: int) -> dict[str, Any]:
    """Return the whole payload; times are seconds since 1970 (RFC 7519 NumericDate)."""
    granted = ENTITLEMENTS[term.plan]
    return {
        "iss": issuer,
        "aud": audience(term.instance_name),
        "sub": term.customer_id,
        "jti": str(jti),
        "seq": sequence,
        "iat": int(term.issued_at.timestamp()),
        "nbf": int(term.issued_at.timestamp()),
        "exp": int(term.expires_at.timestamp()),
        "plan": term.plan,
        "features": dict(granted.features),
        "limits": dict(granted.limits),
    }


def sign(term: Term, *, key: SigningKey, issuer: str, jti: UUID, sequence: int) -> License:
    """Return a signed license. Blocks for about 2 ms."""
    payload = claims(term, issuer=issuer, jti=jti, sequence=sequence)
    return License(
        jti=jti,
        sequence=sequence,
        kid=key.kid,
        plan=term.plan,
        jwt=jwt.encode(payload, key.private, algorithm="RS256", headers={"kid": key.kid}),
        issued_at=term.issued_at,
        expires_at=term.expires_at,
    )
