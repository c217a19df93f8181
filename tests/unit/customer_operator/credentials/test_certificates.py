"""Certificates as a TLS client sees them: verified by path, name, purpose and time."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
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


def test_a_certificate_is_renewed_a_month_before_its_end(authority: KeyPair, pair: KeyPair) -> None:
    assert certificates.renew_at(pair.certificate, authority=authority) == NOW + certificates.LIFETIME - timedelta(
        days=30
    )


@pytest.mark.parametrize(
    ("hosts", "covered"),
    [(HOSTS, True), (HOSTS[:1], True), ([], True), ([*HOSTS, "new.example.com"], False), (["example.com"], False)],
)
def test_a_certificate_covers_the_hosts_it_names(pair: KeyPair, hosts: list[str], *, covered: bool) -> None:
    assert certificates.covers(pair.certificate, hosts=hosts) is covered


# -- a renewed authority ---------------------------------------------------------------------------------------------

DUE = NOW + certificates.CA_LIFETIME - certificates.CA_RENEW_BEFORE


@pytest.mark.parametrize("host", HOSTS[:2])
def test_old_and_new_certificate_of_an_authority_verify_old_and_new_brokers(authority: KeyPair, host: str) -> None:
    before = certificates.issue(authority, hosts=HOSTS, now=DUE)
    renewed = certificates.renew_authority(authority, now=DUE)
    after = certificates.issue(renewed, hosts=HOSTS, now=DUE)

    assert renewed.certificate != authority.certificate
    for trusted in (authority, renewed):
        for broker in (before, after):
            verify(broker, authority=trusted, host=host, at=DUE + timedelta(days=1))


def test_a_renewed_authority_is_the_same_but_for_its_time(authority: KeyPair) -> None:
    renewed = certificates.renew_authority(authority, now=DUE)
    old, new = load(authority), load(renewed)

    assert renewed.private_key == authority.private_key
    assert (new.subject, new.issuer) == (old.subject, old.issuer)
    assert list(new.extensions) == list(old.extensions)
    assert new.serial_number != old.serial_number
    assert new.not_valid_after_utc == DUE + certificates.CA_LIFETIME
    certificates.check_authority(renewed)


def test_an_authority_is_renewed_before_any_broker_would_outlive_it(authority: KeyPair) -> None:
    assert not certificates.authority_is_due(authority, now=DUE - timedelta(seconds=1))
    assert certificates.authority_is_due(authority, now=DUE)
    latest = certificates.issue(authority, hosts=HOSTS, now=DUE)
    assert load(latest).not_valid_after_utc == DUE + certificates.LIFETIME < load(authority).not_valid_after_utc


def test_an_expired_authority_can_be_renewed(authority: KeyPair) -> None:
    late = NOW + certificates.CA_LIFETIME + timedelta(days=1)
    assert certificates.authority_is_due(authority, now=late)

    renewed = certificates.renew_authority(authority, now=late)
    verify(certificates.issue(renewed, hosts=HOSTS, now=late), authority=renewed, host=HOSTS[0], at=late)


# -- an authority that somebody else has made ------------------------------------------------------------------------


def foreign(
    *, life: timedelta = timedelta(days=90), curve: ec.EllipticCurve | None = None, path: int | None = 0
) -> KeyPair:
    """Return an authority as another tool makes it: own identifiers, and one of the serial number beside the key's."""
    key = ec.generate_private_key(curve or ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Acme")])
    identifier = x509.SubjectKeyIdentifier(b"chosen by another tool")
    serial = x509.AuthorityKeyIdentifier(identifier.digest, [x509.DirectoryName(name)], 42)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(42)
        .not_valid_before(NOW)
        .not_valid_after(NOW + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(serial, critical=False)
    )
    return pem(builder.sign(key, hashes.SHA384()), key)


def pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> KeyPair:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return KeyPair(certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(), private_key=text.decode())


def test_no_broker_outlives_its_authority_and_none_is_replaced_for_nothing() -> None:
    authority = foreign()
    pair = certificates.issue(authority, hosts=HOSTS, now=NOW + timedelta(days=80))

    assert load(pair).not_valid_after_utc == load(authority).not_valid_after_utc
    for day in (80, 89):
        assert certificates.is_current(pair, authority=authority, hosts=HOSTS, now=NOW + timedelta(days=day))
    assert not certificates.is_current(pair, authority=authority, hosts=HOSTS, now=NOW + timedelta(days=90))


def test_a_broker_points_to_its_authority_by_the_identifier_that_it_has() -> None:
    authority = foreign()
    pair = certificates.issue(authority, hosts=HOSTS, now=NOW)

    pointer = load(pair).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert pointer.key_identifier == b"chosen by another tool"


def test_a_short_lived_authority_is_renewed_in_its_last_third_for_as_long_again() -> None:
    authority = foreign(life=timedelta(days=90))
    due = NOW + timedelta(days=60)

    assert not certificates.authority_is_due(authority, now=due - timedelta(seconds=1))
    assert certificates.authority_is_due(authority, now=due)
    renewed = certificates.renew_authority(authority, now=due)
    assert load(renewed).not_valid_after_utc - due <= timedelta(days=90)
    pointers = [item for item in load(renewed).extensions if isinstance(item.value, x509.AuthorityKeyIdentifier)]
    assert pointers == []
    certificates.check_authority(renewed)
    for trusted in (authority, renewed):
        load(certificates.issue(authority, hosts=HOSTS, now=due)).verify_directly_issued_by(load(trusted))


def test_a_certificate_that_outlives_the_authority_must_go(authority: KeyPair) -> None:
    shorter = certificates.renew_authority(authority, now=NOW - certificates.CA_LIFETIME + timedelta(days=100))
    pair = certificates.issue(authority, hosts=HOSTS, now=NOW)

    assert not certificates.is_current(pair, authority=shorter, hosts=HOSTS, now=NOW)


def not_an_authority(authority: KeyPair) -> KeyPair:
    return certificates.issue(authority, hosts=HOSTS, now=NOW)


def without_the_right_to_sign() -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Acme")])
    usage = x509.KeyUsage(
        **dict.fromkeys(("digital_signature", "crl_sign"), True),
        **dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"), False
        ),
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return pem(builder.sign(key, hashes.SHA256()), key)


def intermediate(authority: KeyPair) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(authority.private_key.encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "between")]))
        .issuer_name(load(authority).subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return pem(builder.sign(signer, hashes.SHA256()), key)


def rsa_key(authority: KeyPair) -> KeyPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # the smallest: nothing is signed with it
    return KeyPair(certificate=authority.certificate, private_key=pem(load(authority), key).private_key)


def encrypted(authority: KeyPair) -> KeyPair:
    key = serialization.load_pem_private_key(authority.private_key.encode(), password=None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"fake"),
    )
    return KeyPair(certificate=authority.certificate, private_key=locked.decode())


def test_authorities_of_every_kind_that_works_are_accepted(authority: KeyPair) -> None:
    for each in (authority, foreign(), foreign(curve=ec.SECP256R1(), path=None)):
        certificates.check_authority(each)


def test_an_authority_that_cannot_sign_is_refused_with_the_reason(authority: KeyPair) -> None:
    other = certificates.create_authority(now=NOW)
    broken = {
        "tls.crt is not a PEM certificate": KeyPair(certificate="fake", private_key=authority.private_key),
        "tls.key is not a PEM private key": KeyPair(certificate=authority.certificate, private_key="fake"),
        "tls.key is not a PEM private key without a password": encrypted(authority),
        "tls.key is not an elliptic curve key": rsa_key(authority),
        "tls.key is not the key of": KeyPair(certificate=authority.certificate, private_key=other.private_key),
        "tls.crt is not the certificate of an authority": not_an_authority(authority),
        "tls.crt is not the certificate of an authority (CA:TRUE, keyCertSign)": without_the_right_to_sign(),
        "tls.crt is not self-signed": intermediate(authority),
    }
    for reason, pair in broken.items():
        with pytest.raises(ValueError, match=re.escape(reason)):
            certificates.check_authority(pair)


def test_an_authority_among_other_text_is_found_and_written_plainly(authority: KeyPair, pair: KeyPair) -> None:
    noisy = KeyPair(
        certificate=f"a comment\n{authority.certificate}{pair.certificate}", private_key=authority.private_key
    )

    assert certificates.normalized(noisy) == authority


def test_a_certificate_without_names_covers_no_host(authority: KeyPair) -> None:
    assert not certificates.covers(authority.certificate, hosts=HOSTS)
