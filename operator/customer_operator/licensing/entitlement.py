"""What an instance is entitled to now: the plan in force, how the license reads, and whether it is suspended."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from customer_operator.errors import LicenseRejected
from customer_operator.licensing.token import Entitlement, Keys, LicenseState, verify
from customer_operator.model.instance import CustomerInstance, Plan
from customer_operator.model.plans import PLANS, Features, Limits
from customer_operator.model.timestamps import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseStatus:
    """The license as the operator reads it: status.license, and the condition LicenseValid."""

    state: str = LicenseState.NONE
    expires_at: datetime | None = None
    key_id: str | None = None
    ok: bool = True
    reason: str = "NoLicense"
    message: str = "no license is given; spec.plan is in force"


NO_LICENSE: Final = LicenseStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The plan in force and what it brings, how the license reads, and why the instance is suspended (None: it is not).

    `again_at` is when the answer will be another one, None for not by itself.
    """

    plan: Plan
    features: Features
    limits: Limits
    license: LicenseStatus
    suspended: str | None
    next_change: datetime | None = None


def evaluate(
    instance: CustomerInstance, *, token: str | None, keys: Keys, issuer: str, grace: timedelta, now: datetime
) -> Decision:
    """Return the decision on an instance and its license (None: it has none, and spec.plan is in force).

    A license that cannot be trusted raises LicenseRejected: nothing is built, and nothing that exists is taken away.
    """
    asked_to_rest = "suspended by spec.suspend; all data is kept" if instance.suspend else None
    if token is None:
        row = PLANS[instance.plan]
        return Decision(
            plan=instance.plan, features=row.features, limits=row.limits, license=NO_LICENSE, suspended=asked_to_rest
        )
    entitlement = verify(token, keys=keys, issuer=issuer, instance_name=instance.name)
    state = entitlement.state(now=now, grace=grace)
    expired = _expired(entitlement) if state is LicenseState.EXPIRED else None
    return Decision(
        plan=entitlement.plan,
        features=entitlement.features,
        limits=entitlement.limits,
        license=_read(instance, entitlement, state, grace),
        suspended=asked_to_rest or expired,
        next_change=_next_change(entitlement, state, grace),
    )


def rejected(error: LicenseRejected) -> LicenseStatus:
    """Return how a license that cannot be trusted reads."""
    return LicenseStatus(state=LicenseState.INVALID, ok=False, reason=error.reason, message=str(error))


def _read(instance: CustomerInstance, entitlement: Entitlement, state: LicenseState, grace: timedelta) -> LicenseStatus:
    ok, reason, message = True, "Valid", f"valid until {format_time(entitlement.expires_at)}"
    if state is LicenseState.GRACE:
        ends = format_time(entitlement.expires_at + grace)
        ok, reason, message = (
            False,
            "InGrace",
            f"spec.license has expired; renew it before {ends}, or the instance is suspended",
        )
    elif state is LicenseState.EXPIRED:
        ok, reason, message = False, "Expired", _expired(entitlement)
    elif instance.plan.rank > entitlement.plan.rank:
        ok, reason = False, "PlanNotCovered"
        message = (
            f"spec.plan {instance.plan} needs a license for it; this one grants {entitlement.plan}, which is in force"
        )
    return LicenseStatus(
        state=state, expires_at=entitlement.expires_at, key_id=entitlement.key_id, ok=ok, reason=reason, message=message
    )


def _expired(entitlement: Entitlement) -> str:
    ended = format_time(entitlement.expires_at)
    return f"spec.license expired at {ended}; all data is kept, a renewed license brings it back"


def _next_change(entitlement: Entitlement, state: LicenseState, grace: timedelta) -> datetime | None:
    match state:
        case LicenseState.VALID:
            return entitlement.expires_at
        case LicenseState.GRACE:
            return entitlement.expires_at + grace
        case _:
            return None
