"""Certificates as a TLS client sees them: verified by path, name, purpose and time."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOSTS = naming.broker_hosts("acme", "iot.example.com", "mqtt.{name}.{base_domain}")


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return certificates.create_authority(now=NOW)


@pytest.fixture(scope="module")
def pair(authority: KeyPair) -> KeyPair:
    return certificates.issue(authority, hosts=HOSTS, now=NOW)


def load(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.encode())


def verify(pair: KeyPair, *, authority: KeyPair, host: str, at: datetime) -> None:
    """Do what a TLS client does with the broker's certificate; VerificationError when it would hang up."""
    policy = PolicyBuilder().store(Store([load(authority)])).time(at)
    policy.build_server_verifier(x509.DNSName(host)).verify(load(pair), [])


@pytest.mark.parametrize("host", HOSTS)
def test_a_client_accepts_the_broker_under_each_of_its_names(authority: KeyPair, pair: KeyPair, host: str) -> None:
    verify(pair, authority=authority, host=host, at=NOW)


@pytest.mark.parametrize("host", ["mqtt.other.iot.example.com", "iot.example.com", "mosquitto.customer-other.svc"])
def test_a_client_refuses_any_other_name(authority: KeyPair, pair: KeyPair, host: str) -> None:
    with pytest.raises(VerificationError):
        verify(pair, authority=authority, host=host, at=NOW)


@pytest.mark.parametrize(
    "at",
    [
        NOW - timedelta(minutes=4),
        certificates.LIFETIME + NOW - timedelta(seconds=1),
    ],
    ids=["a clock that is behind", "the last second"],
)
def test_a_client_accepts_the_certificate_throughout_its_life(authority: KeyPair, pair: KeyPair, at: datetime) -> None:
    verify(pair, authority=authority, host=HOSTS[0], at=at)


@pytest.mark.parametrize("at", [NOW - timedelta(minutes=6), NOW + certificates.LIFETIME + timedelta(seconds=1)])
def test_a_client_refuses_the_certificate_before_and_after_its_life(
    authority: KeyPair, pair: KeyPair, at: datetime
) -> None:
    with pytest.raises(VerificationError):
        verify(pair, authority=authority, host=HOSTS[0], at=at)


def test_a_client_refuses_a_certificate_of_another_authority(pair: KeyPair) -> None:
    with pytest.raises(VerificationError):
        verify(pair, authority=certificates.create_authority(now=NOW), host=HOSTS[0], at=NOW)


def test_a_broker_cannot_issue_certificates_itself(authority: KeyPair, pair: KeyPair) -> None:
    forged = certificates.issue(pair, hosts=["mqtt.other.iot.example.com"], now=NOW)
    policy = PolicyBuilder().store(Store([load(authority)])).time(NOW)

    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("mqtt.other.iot.example.com")).verify(load(forged), [load(pair)])


def test_the_private_keys_belong_to_the_certificates(authority: KeyPair, pair: KeyPair) -> None:
    for each in (authority, pair):
        key = serialization.load_pem_private_key(each.private_key.encode(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.public_key() == load(each).public_key()


def test_two_certificates_share_neither_key_nor_serial_number(authority: KeyPair, pair: KeyPair) -> None:
    other = certificates.issue(authority, hosts=HOSTS, now=NOW)

    assert other.private_key != pair.private_key
    assert load(other).serial_number != load(pair).serial_number


def test_a_host_longer_than_a_common_name_is_still_covered(authority: KeyPair) -> None:
    host = f"mqtt.{'a' * 40}.devices.iot.subsidiary.example.com"
    assert len(host) > 64

    verify(certificates.issue(authority, hosts=[host], now=NOW), authority=authority, host=host, at=NOW)


def test_a_certificate_is_renewed_a_month_before_its_end(pair: KeyPair) -> None:
    assert certificates.renew_at(pair.certificate) == NOW + certificates.LIFETIME - timedelta(days=30)


@pytest.mark.parametrize(
    ("hosts", "covered"),
    [(HOSTS, True), (HOSTS[:1], True), ([], True), ([*HOSTS, "new.example.com"], False), (["example.com"], False)],
)
def test_a_certificate_covers_the_hosts_it_names(pair: KeyPair, hosts: list[str], *, covered: bool) -> None:
    assert certificates.covers(pair.certificate, hosts=hosts) is covered


def test_an_authority_with_another_kind_of_key_is_refused(authority: KeyPair) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # the smallest: nothing is signed with it
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()

    with pytest.raises(TypeError, match="must be an elliptic curve key"):
        certificates.issue(KeyPair(certificate=authority.certificate, private_key=pem), hosts=HOSTS, now=NOW)
