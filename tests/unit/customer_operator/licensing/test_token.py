"""Licenses: what is trusted, what is refused and how that reads, and how keys are rotated."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from customer_operator.licensing.keys import KeySet
from customer_operator.licensing.token import LEEWAY_SECONDS, Entitlement, LicenseState
from customer_operator.model.instance import Plan
from customer_operator.model.plans import PLANS
from tests.support.licenses import DAY, ISSUER, check, claims, jwk, private_key, refusal, sign, write_jwks


@pytest.fixture
def keys(tmp_path: Path) -> KeySet:
    return KeySet(write_jwks(tmp_path / "jwks.json", jwk("k1"), jwk("k2")))


def encoded(value: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def handmade(header: dict[str, Any], secret: bytes | None) -> str:
    """Return a token as an attacker would make it, without any library's scruples."""
    body = encoded(header) + b"." + encoded(claims())
    signature = hmac.new(secret, body, hashlib.sha256).digest() if secret is not None else b""
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_a_good_license_tells_plan_expiry_and_key(keys: KeySet) -> None:
    expires = int(time.time()) + DAY

    assert check(sign("k2", exp=expires), keys) == Entitlement(
        plan=Plan.PROFESSIONAL,
        expires_at=datetime.fromtimestamp(expires, tz=UTC),
        key_id="k2",
        features={"grafana": False},
        limits={"devices": 500},
    )


@pytest.mark.parametrize("plan", list(Plan))
def test_features_and_limits_that_a_license_does_not_name_are_its_plan_s(keys: KeySet, plan: Plan) -> None:
    found = check(sign(plan=str(plan), features=None, limits=None), keys)

    assert (found.features, found.limits) == (PLANS[plan].features, PLANS[plan].limits)
    assert check(sign(features={}, limits={}), keys).features == {}


@pytest.mark.parametrize(
    ("claim", "features"),
    [
        ({"maxDevices": 10, "alerting": True, "ratio": 0.5, "tier": "gold"}, None),
        (["alerting", "webhooks"], {"alerting": True, "webhooks": True}),
        ([], {}),
        ({f"feature-{number}": number for number in range(64)}, None),
        ({"text": "x" * 256, "a" * 63: -(2**53 - 1)}, None),
    ],
)
def test_features_are_an_object_or_a_list_of_names(keys: KeySet, claim: Any, features: dict[str, Any] | None) -> None:
    assert check(sign(features=claim), keys).features == (claim if features is None else features)


def test_a_limit_may_be_none(keys: KeySet) -> None:
    limits = {"requests": 0, "messages": -1, "devices": None}

    assert check(sign(limits=json.loads(json.dumps(limits))), keys).limits == limits


@pytest.mark.parametrize(
    ("claim", "value", "complaint"),
    [
        ("features", "alerting", "must be an object of at most 64 entries"),
        ("features", 5, "must be an object"),
        ("features", {f"f{number}": True for number in range(65)}, "must be an object of at most 64 entries"),
        ("features", ["alerting", 5], "must have names of at most 63 letters"),
        ("features", ["alerting", ["webhooks"]], "must have names of at most 63 letters"),
        ("features", {"": True}, "must have names of at most 63 letters"),
        ("features", {"a b": True}, "must have names"),
        ("features", {"x" * 64: True}, "must have names"),
        ("features", {"alerting": None}, "must have values that are booleans, numbers or short texts"),
        ("features", {"alerting": {"on": True}}, "must have values that are booleans"),
        ("features", {"alerting": ["on"]}, "must have values that are booleans"),
        ("features", {"text": "x" * 257}, "must have values that are booleans"),
        ("features", {"devices": 2**53}, "must have values that are booleans"),
        ("features", {"devices": float("nan")}, "must have values that are booleans"),
        ("features", {"devices": float("inf")}, "must have values that are booleans"),
        ("limits", ["devices"], "must be an object of at most 64 entries"),
        ("limits", {"devices": -2}, "must have values that are whole numbers from 0, or -1 or null for no limit"),
        ("limits", {"devices": 1.5}, "must have values that are whole numbers"),
        ("limits", {"devices": True}, "must have values that are whole numbers"),
        ("limits", {"devices": "500"}, "must have values that are whole numbers"),
        ("limits", {"devices": 10**30}, "must have values that are whole numbers"),
    ],
)
def test_features_and_limits_of_a_wrong_shape_are_refused_by_the_claim_s_name(
    keys: KeySet, claim: str, value: Any, complaint: str
) -> None:
    message = refusal(sign(**{claim: value}), keys)

    assert f"its claim {claim} {complaint}" in message
    assert message.endswith("; issue it again")
    assert len(message) < 300


@pytest.mark.parametrize("plan", list(Plan))
def test_every_plan_can_be_licensed(keys: KeySet, plan: Plan) -> None:
    assert check(sign(plan=str(plan)), keys).plan is plan


def test_an_audience_may_be_one_of_several(keys: KeySet) -> None:
    assert check(sign(aud=["somebody", "customer-instance:acme"]), keys)


def test_an_expired_license_is_still_read_for_the_grace_period_is_judged_later(keys: KeySet) -> None:
    assert check(sign(exp=int(time.time()) - DAY), keys).expires_at < datetime.now(UTC)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"aud": "customer-instance:other"}, "issued for another instance; its aud must be 'customer-instance:acme'"),
        ({"aud": "customer-instance:acme2"}, "issued for another instance"),
        ({"aud": None}, "lacks the claim 'aud'"),
        ({"iss": "https://evil.example.com"}, f"its iss must be '{ISSUER}'"),
        ({"iss": None}, "lacks the claim 'iss'"),
        ({"exp": None}, "lacks the claim 'exp'"),
        ({"iat": None}, "lacks the claim 'iat'"),
        ({"nbf": int(time.time()) + DAY}, "not valid yet; check nbf, iat and the clocks"),
        ({"iat": int(time.time()) + DAY}, "not valid yet"),
        ({"nbf": "soon"}, "cannot be verified"),
        ({"plan": "gold"}, "plan must be one of trial, starter, professional, enterprise"),
        ({"plan": None}, "its claims plan or exp cannot be read"),
        ({"plan": ["trial"]}, "its claims plan or exp cannot be read"),
        ({"exp": 10**13}, "its claims plan or exp cannot be read"),
        ({"exp": 10**30}, "its claims plan or exp cannot be read"),
        ({"exp": float("inf")}, "its claims plan or exp cannot be read"),
        ({"exp": float("nan")}, "its claims plan or exp cannot be read"),
        ({"exp": "never"}, "its claims plan or exp cannot be read"),
        ({"exp": [1]}, "its claims plan or exp cannot be read"),
    ],
)
def test_a_license_with_wrong_claims_is_refused_by_name(
    keys: KeySet, overrides: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(sign(**overrides), keys)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_clocks_may_differ_by_the_leeway(keys: KeySet, claim: str) -> None:
    overrides: dict[str, Any] = {claim: int(time.time()) + LEEWAY_SECONDS // 2}

    assert check(sign(**overrides), keys)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.b", "é.é.é", "....", "eyJ9.e30."])
def test_what_is_no_jwt_is_refused(keys: KeySet, token: str) -> None:
    assert "copy the license again, whole" in refusal(token, keys) or "issue it again" in refusal(token, keys)


def test_a_license_that_was_not_copied_whole_is_refused(keys: KeySet) -> None:
    token = sign()

    assert "copy the license again, whole" in refusal(token[:-40], keys)
    assert "copy the license again, whole" in refusal(token.rpartition(".")[0], keys)


def test_a_tampered_license_is_refused(keys: KeySet) -> None:
    header, _, signature = sign().split(".")
    forged = f"{header}.{encoded(claims(plan='enterprise')).decode()}.{signature}"

    assert "its signature does not verify" in refusal(forged, keys)


# -- attacks on the choice of algorithm and key ----------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE"])
def test_an_unsigned_license_is_refused(keys: KeySet, algorithm: str) -> None:
    assert "cannot be verified" in refusal(handmade({"alg": algorithm, "typ": "JWT", "kid": "k1"}, None), keys)


def test_a_license_signed_with_the_public_key_as_a_shared_secret_is_refused(keys: KeySet) -> None:
    """The classic confusion: HS256 over the text of the public key, which everybody may know."""
    public = private_key("k1").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    for secret in (pem, json.dumps(jwk("k1")).encode(), b""):
        assert "cannot be verified" in refusal(handmade({"alg": "HS256", "typ": "JWT", "kid": "k1"}, secret), keys)


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_another_algorithm_is_refused_even_with_the_right_key(keys: KeySet, algorithm: str) -> None:
    token = jwt.encode(claims(), private_key("k1"), algorithm=algorithm, headers={"kid": "k1"})

    assert "cannot be verified" in refusal(token, keys)


def test_the_key_is_chosen_by_its_id_and_no_other_is_tried(keys: KeySet) -> None:
    assert "its signature does not verify" in refusal(sign("k1", headers={"kid": "k2"}), keys)


@pytest.mark.parametrize("headers", [{"kid": "k3"}, {"kid": ""}, {"kid": "../../etc/passwd"}, {"kid": "k" * 5000}])
def test_an_unknown_key_is_named_and_the_cure_with_it(keys: KeySet, headers: dict[str, Any]) -> None:
    message = refusal(sign("k1", headers=headers), keys)

    assert repr(headers["kid"][:64]) in message
    assert "add that key to the operator's JWKS or issue the license again" in message
    assert len(message) < 500


def test_a_key_that_comes_with_the_license_is_not_used(tmp_path: Path) -> None:
    keys = KeySet(write_jwks(tmp_path / "jwks.json", jwk("k1")))

    for key_id, complaint in (("k2", "which the operator does not know"), ("k1", "its signature does not verify")):
        token = sign("k2", headers={"jwk": jwk("k2"), "jku": "http://127.0.0.1:9/jwks", "kid": key_id})
        assert complaint in refusal(token, keys)


def test_an_operator_without_keys_trusts_no_license() -> None:
    assert "which the operator does not know" in refusal(sign(), KeySet(None))


# -- time ------------------------------------------------------------------------------------------------------------

EXPIRY = datetime(2026, 12, 1, tzinfo=UTC)
GRACE = timedelta(days=3)
ENTITLEMENT = Entitlement(plan=Plan.TRIAL, expires_at=EXPIRY, key_id="k1", features={}, limits={})


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (EXPIRY - timedelta(days=400), LicenseState.VALID),
        (EXPIRY - timedelta(seconds=1), LicenseState.VALID),
        (EXPIRY, LicenseState.GRACE),
        (EXPIRY + GRACE - timedelta(seconds=1), LicenseState.GRACE),
        (EXPIRY + GRACE, LicenseState.EXPIRED),
        (EXPIRY + timedelta(days=4000), LicenseState.EXPIRED),
    ],
)
def test_a_license_is_valid_then_in_grace_then_expired(now: datetime, state: LicenseState) -> None:
    assert ENTITLEMENT.state(now=now, grace=GRACE) is state


def test_without_a_grace_period_a_license_expires_at_once() -> None:

    assert ENTITLEMENT.state(now=EXPIRY, grace=timedelta(0)) is LicenseState.EXPIRED
