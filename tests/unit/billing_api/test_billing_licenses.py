import itertools
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from billing_api.db.licenses import License
from billing_api.errors import SettingsError
from billing_api.licensing.keys import SigningKey, load_or_generate, write_jwks
from billing_api.licensing.licenses import ENTITLEMENTS, LicenseSigner, Term

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
    return LicenseSigner(key, issuer=ISSUER).sign(TERM, jti=uuid4())


def test_a_license_verifies_with_the_published_key_chosen_by_kid(
    key: SigningKey, license: License, tmp_path: Path
) -> None:
    write_jwks(tmp_path / "jwks.json", [key.jwk])
    published = jwt.PyJWKSet.from_dict(json.loads((tmp_path / "jwks.json").read_text()))
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
        "jti": str(license.jti),
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


def test_a_key_is_generated_once_with_a_notice_and_for_its_owner_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_or_generate(configured=None, data_dir=tmp_path)
    [notice] = caplog.messages
    second = load_or_generate(configured=None, data_dir=tmp_path)
    path = tmp_path / "license-signing-key.pem"
    assert "Generated a new license signing key" in notice
    assert str(path) in notice
    assert len(caplog.messages) == 1
    assert first.kid == second.kid
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["license-signing-key.pem"]


def test_a_configured_key_is_used_and_none_generated(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "mine.pem"
    path.write_bytes(_pem(key.private))
    assert load_or_generate(configured=path, data_dir=tmp_path).kid == key.kid
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.pem"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no key", "holds no private key"),
        (
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "must be an RSA key",
        ),
        (
            rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "2048 bits or more",
        ),
    ],
)
def test_an_unusable_key_is_refused_with_the_cure(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "bad.pem"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=why) as raised:
        load_or_generate(configured=path, data_dir=tmp_path)
    assert str(raised.value).startswith("LICENSE_PRIVATE_KEY_PATH")
    assert "openssl genpkey" in str(raised.value)


def test_derived_secrets_differ_by_purpose_and_by_key(key: SigningKey) -> None:
    other = SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert key.derive("a") == key.derive("a")
    assert len({key.derive("a"), key.derive("b"), other.derive("a")}) == 3


def test_neither_key_nor_license_shows_its_secret_when_printed(key: SigningKey, license: License) -> None:
    assert license.jwt not in repr(license)
    assert repr(key) == f"SigningKey(kid={key.kid!r})"


def _pem(private: rsa.RSAPrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_license_carries_the_given_identifier(key: SigningKey) -> None:
    jti = UUID(int=7)
    assert LicenseSigner(key, issuer=ISSUER).sign(TERM, jti=jti).jti == jti
