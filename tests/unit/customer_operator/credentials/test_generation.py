"""Generated passwords and certificates: complete, unchanging, renewed only where that is due."""

import re
from datetime import UTC, datetime, timedelta

import bcrypt
import pytest

from customer_operator import naming
from customer_operator.credentials import certificates, encoding
from customer_operator.credentials import generation as credentials
from customer_operator.credentials.certificates import KeyPair
from customer_operator.errors import SecretBroken

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOSTS = naming.broker_hosts("acme", "iot.example.com", "mqtt.{name}.{base_domain}")
TLS = {"tls_certificate_pem", "tls_private_key_pem", "tls_ca_pem"}


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return certificates.create_authority(now=NOW)


@pytest.fixture(scope="module")
def values(authority: KeyPair) -> dict[str, str]:
    return credentials.complete({}, authority=authority, hosts=HOSTS, now=NOW)


def complete(
    existing: dict[str, str], authority: KeyPair, *, hosts: list[str] = HOSTS, now: datetime = NOW
) -> dict[str, str]:
    return credentials.complete(existing, authority=authority, hosts=hosts, now=now)


def test_what_is_generated_is_what_the_builders_take(values: dict[str, str]) -> None:
    parsed = credentials.parse(values)

    assert parsed.postgres_password == values["postgres_password"]
    assert parsed.tls_ca_pem == values["tls_ca_pem"]
    assert set(values) == set(parsed.__slots__)


def test_passwords_are_long_plain_and_all_different(values: dict[str, str]) -> None:
    passwords = [value for name, value in values.items() if name.endswith("_password")]

    assert len(set(passwords)) == len(passwords) == 7
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in passwords)


@pytest.mark.parametrize("user", ["mqtt_api", "mqtt_exporter", "mqtt_probe"])
def test_the_broker_accepts_a_password_by_its_hash(values: dict[str, str], user: str) -> None:
    assert bcrypt.checkpw(values[f"{user}_password"].encode(), values[f"{user}_password_hash"].encode())


def test_two_instances_share_nothing_but_the_authority(values: dict[str, str], authority: KeyPair) -> None:
    other = complete({}, authority)

    assert {name for name in values if values[name] == other[name]} == {"tls_ca_pem"}


def test_what_is_complete_never_changes(values: dict[str, str], authority: KeyPair) -> None:
    assert complete(values, authority) == values
    assert complete(values, authority, now=NOW + timedelta(days=300)) == values


def test_completing_leaves_its_argument_alone(values: dict[str, str], authority: KeyPair) -> None:
    existing = {"postgres_password": "kept"}
    complete(existing, authority)

    assert existing == {"postgres_password": "kept"}


@pytest.mark.parametrize(
    "missing", ["postgres_password", "mqtt_exporter_password_hash", "mqtt_probe_password_hash", "tls_ca_pem"]
)
def test_what_a_newer_version_needs_is_added_and_the_rest_kept(
    values: dict[str, str], authority: KeyPair, missing: str
) -> None:
    completed = complete({name: value for name, value in values.items() if name != missing}, authority)

    renewed = TLS if missing in TLS else {missing}
    assert set(completed) == set(values)
    assert {name for name in values if completed[name] != values[name]} <= renewed


def test_a_new_password_gets_a_new_hash(values: dict[str, str], authority: KeyPair) -> None:
    existing = {name: value for name, value in values.items() if name != "mqtt_api_password"}
    completed = complete(existing, authority)

    assert bcrypt.checkpw(completed["mqtt_api_password"].encode(), completed["mqtt_api_password_hash"].encode())
    assert {name for name in values if completed[name] != values[name]} == {
        "mqtt_api_password",
        "mqtt_api_password_hash",
    }


def test_a_certificate_of_another_authority_is_replaced_and_nothing_else(
    values: dict[str, str], authority: KeyPair
) -> None:
    other = certificates.create_authority(now=NOW)
    completed = complete(values, other)

    assert {name for name in values if completed[name] != values[name]} == TLS
    assert completed["tls_ca_pem"] == other.certificate


def test_a_renewed_authority_reaches_the_devices_trust(values: dict[str, str], authority: KeyPair) -> None:
    renewed = certificates.renew_authority(authority, now=NOW)

    assert complete(values, renewed)["tls_ca_pem"] == renewed.certificate


def test_a_certificate_that_somebody_else_has_signed_is_replaced(values: dict[str, str], authority: KeyPair) -> None:
    """With the right authority beside it: what is compared is the signature, not the text only."""
    forged = certificates.issue(certificates.create_authority(now=NOW), hosts=HOSTS, now=NOW)
    edited = {**values, "tls_certificate_pem": forged.certificate, "tls_private_key_pem": forged.private_key}

    assert complete(edited, authority)["tls_certificate_pem"] != forged.certificate


def test_a_certificate_with_the_key_of_another_is_replaced(values: dict[str, str], authority: KeyPair) -> None:
    other = certificates.issue(authority, hosts=HOSTS, now=NOW)

    completed = complete({**values, "tls_private_key_pem": other.private_key}, authority)
    assert completed["tls_private_key_pem"] not in (values["tls_private_key_pem"], other.private_key)


@pytest.mark.parametrize(
    ("age", "hosts", "renewed"),
    [
        (certificates.LIFETIME - certificates.RENEW_BEFORE - timedelta(seconds=1), HOSTS, False),
        (certificates.LIFETIME - certificates.RENEW_BEFORE, HOSTS, True),
        (certificates.LIFETIME * 2, HOSTS, True),
        (timedelta(0), [*HOSTS, "mqtt.acme.new.example.com"], True),
    ],
    ids=["not due", "due", "long expired", "new host"],
)
def test_a_certificate_is_replaced_when_due_or_when_the_hosts_change_and_passwords_stay(
    values: dict[str, str], authority: KeyPair, age: timedelta, hosts: list[str], *, renewed: bool
) -> None:
    completed = complete(values, authority, hosts=hosts, now=NOW + age)

    changed = {name for name in values if completed[name] != values[name]}
    assert changed == ({"tls_certificate_pem", "tls_private_key_pem"} if renewed else set())
    assert certificates.renew_at(completed["tls_certificate_pem"], authority=authority) > NOW + age
    assert certificates.covers(completed["tls_certificate_pem"], hosts=hosts)


def test_the_secret_gives_back_what_was_put_in(values: dict[str, str]) -> None:
    secret = credentials.manifest(encoding.encode(values), instance_name="acme")

    assert credentials.decode(encoding.data_of(secret), instance_name="acme") == values
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("customer-acme", "credentials")
    assert secret["metadata"]["labels"] == naming.labels("acme", "credentials")


@pytest.mark.parametrize("secret", [None, {}, {"data": None}, {"data": {}}])
def test_an_empty_secret_has_no_values(secret: dict[str, None] | None) -> None:
    assert encoding.data_of(secret) == {}


@pytest.mark.parametrize(
    ("name", "value", "problem", "cure"),
    [
        ("postgres_password", "it's", "must consist of letters", "restore the Secret from a backup"),
        ("api_db_password", "", "must consist of letters", "or remove this key"),
        ("api_db_password", "fake\n", "must consist of letters", "or remove this key"),
        ("mqtt_api_password_hash", "$2b$fake", "must be a bcrypt hash", "or remove this key"),
        ("tls_certificate_pem", "fake", "is not a PEM certificate", "or remove this key"),
        ("tls_ca_pem", "", "is not a PEM certificate", "or remove this key"),
        ("tls_private_key_pem", "fake", "is not a PEM private key", "or remove this key"),
    ],
)
def test_a_value_that_cannot_be_one_is_named_and_not_shown(name: str, value: str, problem: str, cure: str) -> None:
    with pytest.raises(SecretBroken) as broken:
        credentials.decode(encoding.encode({name: value}), instance_name="acme")

    message = str(broken.value)
    assert message.startswith(f"Secret credentials in namespace customer-acme: {name} {problem}")
    assert cure in message
    assert ("remove" in message) == ("remove" in cure)
    assert not value or value not in message


@pytest.mark.parametrize("data", ["not base64!", "/v8="])
def test_a_value_that_is_no_text_is_named(data: str) -> None:
    with pytest.raises(SecretBroken, match="broker_db_password is not text"):
        credentials.decode({"broker_db_password": data}, instance_name="acme")


def test_a_certificate_passes_for_no_key_and_a_key_for_no_certificate(values: dict[str, str]) -> None:
    with pytest.raises(SecretBroken, match="tls_private_key_pem"):
        credentials.decode(
            encoding.encode({"tls_private_key_pem": values["tls_certificate_pem"]}), instance_name="acme"
        )
    with pytest.raises(SecretBroken, match="tls_certificate_pem"):
        credentials.decode(
            encoding.encode({"tls_certificate_pem": values["tls_private_key_pem"]}), instance_name="acme"
        )


def test_credentials_do_not_show_themselves(values: dict[str, str], authority: KeyPair) -> None:
    shown = repr(credentials.parse(values)) + repr(authority)

    assert not [name for name, value in values.items() if value in shown]
    assert "PRIVATE KEY" not in shown
