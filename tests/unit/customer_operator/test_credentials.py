"""Generated passwords and certificates: complete, unchanging, renewed only where that is due."""

import re
from datetime import UTC, datetime, timedelta

import bcrypt
import pytest

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials import generation as credentials
from customer_operator.credentials.certificates import KeyPair

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

    assert len(set(passwords)) == len(passwords) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in passwords)


@pytest.mark.parametrize("user", ["mqtt_api", "mqtt_exporter"])
def test_the_broker_accepts_a_password_by_its_hash(values: dict[str, str], user: str) -> None:
    assert bcrypt.checkpw(values[f"{user}_password"].encode(), values[f"{user}_password_hash"].encode())


def test_two_instances_share_nothing_but_the_authority(values: dict[str, str], authority: KeyPair) -> None:
    other = complete({}, authority)

    assert {name for name in values if values[name] == other[name]} == {"tls_ca_pem"}


def test_what_is_complete_never_changes(values: dict[str, str], authority: KeyPair) -> None:
    assert complete(values, authority) == values
    assert complete(values, authority, now=NOW + timedelta(days=300)) == values
    assert complete(values, certificates.create_authority(now=NOW)) == values


def test_completing_leaves_its_argument_alone(values: dict[str, str], authority: KeyPair) -> None:
    existing = {"postgres_password": "kept"}
    complete(existing, authority)

    assert existing == {"postgres_password": "kept"}


@pytest.mark.parametrize("missing", ["postgres_password", "mqtt_exporter_password_hash", "tls_ca_pem"])
def test_what_a_newer_version_needs_is_added_and_the_rest_kept(
    values: dict[str, str], authority: KeyPair, missing: str
) -> None:
    completed = complete({name: value for name, value in values.items() if name != missing}, authority)

    renewed = TLS if missing in TLS else {missing}
    assert set(completed) == set(values)
    assert {name for name in values if completed[name] != values[name]} <= renewed


def test_values_of_an_unknown_name_are_kept(values: dict[str, str], authority: KeyPair) -> None:
    """An older version of the operator must not throw away what a newer one has generated."""
    assert complete({**values, "future_password": "kept"}, authority)["future_password"] == "kept"


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
    assert certificates.renew_at(completed["tls_certificate_pem"]) > NOW + age
    assert certificates.covers(completed["tls_certificate_pem"], hosts=hosts)


def test_the_secret_gives_back_what_was_put_in(values: dict[str, str]) -> None:
    secret = credentials.manifest(values, instance_name="acme")

    assert credentials.decode(secret) == values
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("customer-acme", "credentials")
    assert secret["metadata"]["labels"] == naming.labels("acme", "credentials")


@pytest.mark.parametrize("secret", [{}, {"data": None}, {"data": {}}])
def test_an_empty_secret_has_no_values(secret: dict[str, None]) -> None:
    assert credentials.decode(secret) == {}


def test_the_authority_survives_being_kept(authority: KeyPair) -> None:
    secret = credentials.authority_manifest(authority, namespace="iotistic-system")

    assert credentials.authority(secret) == authority
    assert (secret["metadata"]["namespace"], secret["type"]) == ("iotistic-system", "kubernetes.io/tls")


def test_credentials_do_not_show_themselves(values: dict[str, str], authority: KeyPair) -> None:
    shown = repr(credentials.parse(values)) + repr(authority)

    assert not [name for name, value in values.items() if value in shown]
    assert "PRIVATE KEY" not in shown
