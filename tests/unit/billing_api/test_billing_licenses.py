import itertools
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from billing_api.db.licenses import License
from billing_api.licensing.keys import SigningKey
from billing_api.licensing.licenses import ENTITLEMENTS, Term, sign
from billing_api.licensing.publication import document

ISSUER = "https://billing.example"
NOW = datetime.now(UTC).replace(microsecond=0)
TERM = Term(
    customer_id="cust-1",
    instance_name="cb4c867f44a92",
    plan="trial",
    issued_at=NOW,
    expires_at=NOW + timedelta(days=14),
)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@pytest.fixture
def license(key: SigningKey) -> License:
    return sign(TERM, key=key, issuer=ISSUER, jti=UUID(int=7), sequence=3)


def test_a_license_verifies_with_the_published_key_chosen_by_kid(key: SigningKey, license: License) -> None:
    published = jwt.PyJWKSet.from_dict(json.loads(document([key.jwk])))
    header = jwt.get_unverified_header(license.jwt)
    claims = jwt.decode(
        license.jwt,
        published[header["kid"]],
        algorithms=["RS256"],
        audience="customer-instance:cb4c867f44a92",
        issuer=ISSUER,
        options={"require": ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"]},
    )
    assert header["alg"] == "RS256"
    assert claims == {
        "iss": ISSUER,
        "aud": "customer-instance:cb4c867f44a92",
        "sub": "cust-1",
        "jti": "00000000-0000-0000-0000-000000000007",
        "seq": 3,
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 14 * 86400,
        "plan": "trial",
        "features": {
            "maxDevices": 10,
            "dataRetentionDays": 90,
            "alerting": True,
            "apiAccess": True,
            "webhooks": False,
        },
        "limits": {"mqttMessagesPerDay": 100_000, "apiRequestsPerDay": 10_000},
    }


def test_a_license_is_worth_nothing_to_another_instance(key: SigningKey, license: License) -> None:
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(
            license.jwt,
            key.private.public_key(),
            algorithms=["RS256"],
            audience="customer-instance:other",
            issuer=ISSUER,
        )


def test_a_license_fits_the_custom_resource(license: License) -> None:
    assert len(license.jwt) <= 8192


def test_larger_plans_never_grant_less() -> None:
    plans = [ENTITLEMENTS[name] for name in ("trial", "starter", "professional", "enterprise")]
    for smaller, larger in itertools.pairwise(plans):
        for small, large in (*_pairs(smaller.features, larger.features), *_pairs(smaller.limits, larger.limits)):
            assert large == -1 or large >= small


def _pairs(smaller: object, larger: object) -> list[tuple[int, int]]:
    assert isinstance(smaller, dict)
    assert isinstance(larger, dict)
    return [(smaller[name], larger[name]) for name in smaller]


def test_the_kid_is_the_thumbprint_of_rfc_7638() -> None:
    # The example of RFC 7638 section 3.1.
    public = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
        "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
        "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
        "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
    }
    numbers = jwt.PyJWK({**public, "alg": "RS256"}).key

    class Private:
        def public_key(self) -> object:
            return numbers

    assert SigningKey.from_private(Private()).kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"  # type: ignore[arg-type]


def test_neither_key_nor_license_shows_its_secret_when_printed(key: SigningKey, license: License) -> None:
    assert license.jwt not in repr(license)
    assert repr(key) == f"SigningKey(kid={key.kid!r})"
