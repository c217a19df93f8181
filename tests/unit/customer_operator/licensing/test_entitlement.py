"""What an instance is entitled to: plan in force, how the license reads, suspension, and when to look again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer_operator.errors import LicenseRejected
from customer_operator.licensing.entitlement import Decision, LicenseStatus, evaluate, rejected
from customer_operator.licensing.keys import KeySet
from customer_operator.model.instance import CustomerInstance, Plan
from customer_operator.model.plans import PLANS
from tests.support.generate import make_instance
from tests.support.licenses import ISSUER, jwk, sign, write_jwks
from tests.support.statuses import compute, make_observed_state

EXPIRY = datetime(2027, 3, 1, tzinfo=UTC)
GRACE = timedelta(days=3)
SUSPENDED = "suspended by spec.suspend; all data is kept"
EXPIRED = "spec.license expired at 2027-03-01T00:00:00Z; all data is kept, a renewed license brings it back"


@pytest.fixture
def keys(tmp_path: Path) -> KeySet:
    return KeySet(write_jwks(tmp_path / "jwks.json", jwk()))


def with_plan(plan: Plan = Plan.PROFESSIONAL, *, suspend: bool = False) -> CustomerInstance:
    return replace(make_instance(), plan=plan, suspend=suspend)


def decision(
    keys: KeySet, *, instance: CustomerInstance | None = None, now: datetime, plan: str = "professional"
) -> Decision:
    """Evaluate an instance with a license that was issued long ago and ends at EXPIRY."""
    token = sign(plan=plan, exp=int(EXPIRY.timestamp()), nbf=0, iat=0)
    return evaluate(instance or with_plan(), token=token, keys=keys, issuer=ISSUER, grace=GRACE, now=now)


@pytest.mark.parametrize("plan", list(Plan))
def test_without_a_license_the_plan_of_the_spec_is_in_force(plan: Plan) -> None:
    found = evaluate(with_plan(plan), token=None, keys=KeySet(None), issuer=ISSUER, grace=GRACE, now=EXPIRY)

    assert found == Decision(
        plan=plan,
        features=PLANS[plan].features,
        limits=PLANS[plan].limits,
        license=LicenseStatus(),
        suspended=None,
        next_change=None,
    )


@pytest.mark.parametrize("now", [EXPIRY - GRACE, EXPIRY, EXPIRY + GRACE])
def test_a_license_decides_features_and_limits_as_long_as_it_is_one(keys: KeySet, now: datetime) -> None:
    found = decision(keys, now=now)

    assert (found.features, found.limits) == ({"grafana": False}, {"devices": 500})


@pytest.mark.parametrize(
    ("now", "state", "ok", "reason", "suspended", "next_change"),
    [
        (EXPIRY - timedelta(days=30), "Valid", True, "Valid", None, EXPIRY),
        (EXPIRY, "Grace", False, "InGrace", None, EXPIRY + GRACE),
        (EXPIRY + GRACE - timedelta(seconds=1), "Grace", False, "InGrace", None, EXPIRY + GRACE),
        (EXPIRY + GRACE, "Expired", False, "Expired", EXPIRED, None),
    ],
)
def test_a_license_runs_out_by_way_of_a_grace_period(
    keys: KeySet,
    now: datetime,
    state: str,
    *,
    ok: bool,
    reason: str,
    suspended: str | None,
    next_change: datetime | None,
) -> None:
    found = decision(keys, now=now)

    assert (found.license.state, found.license.ok, found.license.reason) == (state, ok, reason)
    assert (found.suspended, found.next_change) == (suspended, next_change)
    assert found.plan is Plan.PROFESSIONAL
    assert (found.license.expires_at, found.license.key_id) == (EXPIRY, "k1")


@pytest.mark.parametrize(
    ("asked", "granted", "ok"),
    [
        (Plan.TRIAL, "professional", True),
        (Plan.PROFESSIONAL, "professional", True),
        (Plan.ENTERPRISE, "professional", False),
        (Plan.STARTER, "trial", False),
    ],
)
def test_the_license_decides_the_plan_and_says_so_when_the_spec_asks_for_more(
    keys: KeySet, asked: Plan, granted: str, *, ok: bool
) -> None:
    found = decision(keys, instance=with_plan(asked), plan=granted, now=EXPIRY - GRACE)

    assert found.plan == granted
    assert found.suspended is None
    assert found.license.ok is ok
    if not ok:
        assert found.license.reason == "PlanNotCovered"
        assert found.license.message == (
            f"spec.plan {asked} needs a license for it; this one grants {granted}, which is in force"
        )


@pytest.mark.parametrize("now", [EXPIRY - GRACE, EXPIRY, EXPIRY + 2 * GRACE])
def test_spec_suspend_suspends_whatever_the_license_says(keys: KeySet, now: datetime) -> None:
    assert decision(keys, instance=with_plan(suspend=True), now=now).suspended == SUSPENDED


def test_spec_suspend_suspends_without_a_license() -> None:
    found = evaluate(with_plan(suspend=True), token=None, keys=KeySet(None), issuer=ISSUER, grace=GRACE, now=EXPIRY)

    assert found.suspended == SUSPENDED


def test_a_license_of_another_instance_is_refused(keys: KeySet) -> None:
    other = replace(with_plan(), name="other")

    with pytest.raises(LicenseRejected, match="issued for another instance"):
        decision(keys, instance=other, now=EXPIRY - GRACE)


@pytest.mark.parametrize("now", [EXPIRY - GRACE, EXPIRY, EXPIRY + GRACE])
def test_every_reading_fits_the_status(keys: KeySet, now: datetime) -> None:
    found = decision(keys, now=now)

    compute(make_observed_state(plan=found.plan, license=found.license, suspended=found.suspended))


def test_a_refused_license_reads_as_invalid_with_the_cure() -> None:
    reading = rejected(LicenseRejected("it is not a JWT; copy the license again, whole"))

    assert (reading.state, reading.ok, reading.reason) == ("Invalid", False, "LicenseInvalid")
    assert reading.message == "spec.license: it is not a JWT; copy the license again, whole"
    compute(make_observed_state(license=reading))
