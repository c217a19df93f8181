"""The license as the reference API verifies it, with licenses that are signed and with some that only look so."""

from dataclasses import replace
from typing import Any

import jwt
import pytest

from reference_api.errors import StartRefused
from reference_api.license import Grant, granted
from reference_api.settings import Settings, from_environment
from tests.support import licenses
from tests.unit.reference.environment import ENVIRONMENT


def with_license(token: str) -> Settings:
    return from_environment({**ENVIRONMENT, "IOTISTIC_LICENSE_KEY": token})


def unsigned() -> str:
    return jwt.encode(licenses.claims(), "", algorithm="none", headers={"kid": "k1"})


def signed_with_the_public_key() -> str:
    """As if what everybody knows were a secret of both sides (RFC 8725, section 2.1)."""
    return jwt.encode(licenses.claims(), licenses.jwk()["n"], algorithm="HS256", headers={"kid": "k1"})


def changed() -> str:
    header, _, signature = licenses.sign().split(".")
    payload = licenses.sign(features={"maxDevices": -1}).split(".")[1]
    return f"{header}.{payload}.{signature}"


def test_what_a_license_grants_goes_before_what_the_environment_says() -> None:
    token = licenses.sign("k2", plan="professional", features={"maxDevices": 3}, limits={"mqttMessagesPerDay": -1})

    assert granted(with_license(token)) == Grant(
        plan="professional",
        licensed=True,
        max_devices=3,
        retention_days=None,
        messages_per_day=None,
        requests_per_day=None,
    )


def test_without_a_license_or_without_a_claim_the_environment_holds() -> None:
    unlicensed = granted(from_environment(ENVIRONMENT))
    plain = granted(with_license(licenses.sign(features=None, limits=None)))

    assert unlicensed == Grant(
        plan="starter", licensed=False, max_devices=10, retention_days=90, messages_per_day=1000, requests_per_day=100
    )
    assert plain == replace(unlicensed, plan="professional", licensed=True)


def test_an_expired_license_is_left_to_the_operator() -> None:
    assert granted(with_license(licenses.sign(exp=licenses.claims()["iat"] - 10, iat=1, nbf=1))).licensed


def test_a_list_of_features_says_what_is_switched_on() -> None:
    assert granted(with_license(licenses.sign(features=["alerting"]))).max_devices is None


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("no-token", id="no JWT"),
        pytest.param(licenses.sign(aud="customer-instance:other"), id="another instance's"),
        pytest.param(licenses.sign(iss="https://billing.example.net"), id="another issuer's"),
        pytest.param(licenses.sign("k3"), id="an unknown key"),
        pytest.param(licenses.sign("k3", headers={"kid": "k1"}), id="a key of the wrong name"),
        pytest.param(licenses.sign(exp=None), id="without an end"),
        pytest.param(licenses.sign(nbf=4_000_000_000), id="not yet valid"),
        pytest.param(unsigned(), id="not signed"),
        pytest.param(signed_with_the_public_key(), id="signed with the public key"),
        pytest.param(changed(), id="changed"),
        pytest.param(licenses.sign(features="all"), id="features that are no object"),
        pytest.param(licenses.sign(features={"maxDevices": "many"}), id="an amount that is none"),
        pytest.param(licenses.sign(features={"maxDevices": True}), id="a truth for an amount"),
        pytest.param(licenses.sign(features={"maxDevices": -2}), id="less than nothing"),
    ],
)
def test_a_license_that_cannot_be_trusted_ends_the_start_and_is_not_shown(token: str) -> None:
    with pytest.raises(StartRefused) as caught:
        granted(with_license(token))

    assert token not in str(caught.value)


@pytest.mark.parametrize("jwks", ["", "{", "[]", '{"keys": 1}', '{"keys": [1]}', '{"keys": []}'])
def test_without_the_platforms_keys_no_license_is_trusted(jwks: str) -> None:
    settings = from_environment({**ENVIRONMENT, "IOTISTIC_LICENSE_JWKS": jwks, "IOTISTIC_LICENSE_KEY": licenses.sign()})

    with pytest.raises(StartRefused, match="IOTISTIC_LICENSE_JWKS"):
        granted(settings)


@pytest.mark.parametrize("missing", ["DATABASE_URL", "POSTGRES_PASSWORD", "MQTT_BROKER"])
def test_what_is_missing_is_named(missing: str) -> None:
    given = {name: value for name, value in ENVIRONMENT.items() if name != missing}

    with pytest.raises(StartRefused, match=f"^{missing} is not set$"):
        from_environment(given)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "x"), ("PORT", "70000"), ("IOTISTIC_LIMITS", "[]"), ("IOTISTIC_FEATURES", "{")],
)
def test_a_value_that_cannot_be_read_is_named_and_not_shown(variable: str, value: str) -> None:
    with pytest.raises(StartRefused, match=f"^{variable} must be"):
        from_environment({**ENVIRONMENT, variable: value})


def test_no_secret_is_shown_by_the_settings() -> None:
    settings: Any = with_license(licenses.sign())

    assert "secret" not in repr(settings)
    assert settings.license_key not in repr(settings)
