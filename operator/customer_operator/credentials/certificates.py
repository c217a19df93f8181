"""The local certificate authority that signs the brokers' TLS certificates (elliptic curves, X.509, RFC 5280).

A renewed authority keeps key, subject and key identifier: its old and its new certificate verify the same brokers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=397)  # the longest that TLS clients commonly accept (CA/Browser Forum, 2020)
RENEW_BEFORE = timedelta(days=30)
# Before an authority's end: room for a whole certificate, and as much again for devices to be given the new authority.
CA_RENEW_BEFORE = 2 * LIFETIME
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


def renew_authority(authority: KeyPair, *, now: datetime) -> KeyPair:
    """Return the authority with the same key, subject and extensions, valid from now for as long as it was made for."""
    old, key = load_certificate(authority.certificate), _load_authority_key(authority.private_key)
    lifetime = old.not_valid_after_utc - old.not_valid_before_utc - _BACKDATE
    builder = _builder(subject=old.subject, issuer=old.subject, key=key.public_key(), now=now, lifetime=lifetime)
    for extension in old.extensions:
        # An authority's own AuthorityKeyIdentifier may name the serial number of the old certificate.
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def authority_is_due(authority: KeyPair, *, now: datetime) -> bool:
    """Tell whether an authority should be renewed: in its last 2 * LIFETIME, or its last third if it is short-lived."""
    certificate = load_certificate(authority.certificate)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_after_utc - min(CA_RENEW_BEFORE, lifetime / 3)


def check_authority(authority: KeyPair) -> None:
    """Raise ValueError, which names tls.crt or tls.key, when certificates cannot be signed with this pair."""
    try:
        certificate = load_certificate(authority.certificate)
    except ValueError as error:
        raise ValueError(f"tls.crt {error}") from None
    try:
        key = _load_authority_key(authority.private_key)
    except ValueError as error:
        raise ValueError(f"tls.key {error}") from None
    if certificate.public_key() != key.public_key():
        raise ValueError("tls.key is not the key of the certificate in tls.crt")
    if not _may_sign(certificate):
        raise ValueError("tls.crt is not the certificate of an authority (CA:TRUE, keyCertSign)")
    if not _signed_by(certificate, certificate):
        # Devices trust this certificate alone, and OpenSSL wants a chain that ends in a self-signed one.
        raise ValueError("tls.crt is not self-signed")


def normalized(authority: KeyPair) -> KeyPair:
    """Return the pair as we would write it: the first certificate alone, without comments or a rest of a chain."""
    return _pair(load_certificate(authority.certificate), _load_authority_key(authority.private_key))


def issue(authority: KeyPair, *, hosts: Sequence[str], now: datetime) -> KeyPair:
    """Return a new server certificate for the host names, the first of them its subject, signed by the authority.

    It ends with the authority at the latest.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    ca, ca_key = load_certificate(authority.certificate), _load_authority_key(authority.private_key)
    # A common name holds at most 64 characters (RFC 5280, ub-common-name); clients look at the alternative names.
    builder = (
        _builder(
            subject=_name(hosts[0][:64]),
            issuer=ca.subject,
            key=key.public_key(),
            now=now,
            lifetime=min(LIFETIME, ca.not_valid_after_utc - now),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_identifier(ca, ca_key), critical=False)
    )
    return _pair(builder.sign(ca_key, hashes.SHA256()), key)


def is_current(pair: KeyPair, *, authority: KeyPair, hosts: Sequence[str], now: datetime) -> bool:
    """Tell whether a broker may go on with its certificate: the authority's, in time, its key's, and for all hosts."""
    certificate, ca = load_certificate(pair.certificate), load_certificate(authority.certificate)
    return (
        _signed_by(certificate, ca)
        and load_key(pair.private_key).public_key() == certificate.public_key()
        and certificate.not_valid_after_utc <= ca.not_valid_after_utc
        and now < renew_at(pair.certificate, authority=authority)
        and covers(pair.certificate, hosts=hosts)
    )


def renew_at(certificate: str, *, authority: KeyPair) -> datetime:
    """Return when a PEM certificate should be replaced; not before its end if the authority would give no later one."""
    end = expires_at(certificate)
    return end if end >= expires_at(authority.certificate) else end - RENEW_BEFORE


def expires_at(certificate: str) -> datetime:
    """Return the end of a PEM certificate."""
    return load_certificate(certificate).not_valid_after_utc


def covers(certificate: str, *, hosts: Sequence[str]) -> bool:
    """Tell whether a PEM certificate names all the hosts."""
    try:
        names = load_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return set(hosts) <= set(names.get_values_for_type(x509.DNSName))


def load_certificate(pem: str) -> x509.Certificate:
    """Return the first certificate of a PEM text; ValueError, which never quotes it, when there is none."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise ValueError("is not a PEM certificate") from None


def load_key(pem: str) -> PrivateKeyTypes:
    """Return the private key of a PEM text; ValueError, which never quotes it, when there is none without password."""
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is not a PEM private key without a password") from None


def _load_authority_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = load_key(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("is not an elliptic curve key")
    return key


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return is_authority
    return is_authority and usage.key_cert_sign


def _signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _key_identifier(ca: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    """Point to the authority by the identifier that it has: others compute it in another way than we do."""
    try:
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


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
