"""The local certificate authority that signs the brokers' TLS certificates (ECDSA P-256, X.509)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=397)  # the longest that TLS clients commonly accept (CA/Browser Forum, 2020)
RENEW_BEFORE = timedelta(days=30)
_BACKDATE = timedelta(minutes=5)  # for clients whose clocks are behind


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: str
    private_key: str = field(repr=False)


def create_authority(*, now: datetime) -> KeyPair:
    """Return a new self-signed certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Iotistic MQTT CA")
    builder = (
        _builder(subject=name, issuer=name, key=key.public_key(), now=now, lifetime=CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def issue(authority: KeyPair, *, hosts: Sequence[str], now: datetime) -> KeyPair:
    """Return a new server certificate for the host names, the first of them its subject, signed by the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_certificate = x509.load_pem_x509_certificate(authority.certificate.encode())
    ca_key = serialization.load_pem_private_key(authority.private_key.encode(), password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key must be an elliptic curve key")
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    # A common name holds at most 64 characters (RFC 5280, ub-common-name); clients look at the alternative names.
    subject = _name(hosts[0][:64])
    builder = (
        _builder(subject=subject, issuer=ca_certificate.subject, key=key.public_key(), now=now, lifetime=LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


def renew_at(certificate: str) -> datetime:
    """Return when a PEM certificate should be replaced."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc - RENEW_BEFORE


def covers(certificate: str, *, hosts: Sequence[str]) -> bool:
    """Tell whether a PEM certificate names all the hosts."""
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(hosts) <= set(names.get_values_for_type(x509.DNSName))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    *, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(), private_key=private.decode()
    )
