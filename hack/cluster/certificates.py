"""The cluster's certificate authorities, certificates and keys: real TLS between all components.

etcd has an authority of its own: a client certificate signed by the cluster must not open the database.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.files import write_private

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
CERTIFICATE_LIFETIME = datetime.timedelta(days=365)
# Clocks of a virtual machine jump; a certificate must not be "not yet valid".
CLOCK_SKEW = datetime.timedelta(hours=1)

LOCAL_NAMES = ("localhost", "127.0.0.1")
# The API server is also known by its Service; the address is the first one of the service range (components.py).
SERVER_NAMES = (
    *LOCAL_NAMES,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
)


@dataclass(frozen=True)
class Subject:
    """One certificate: who it names and what it is good for."""

    name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    client: bool = False


@dataclass(frozen=True)
class Authority:
    """A certificate authority that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


ETCD_SUBJECTS = {
    "etcd": Subject("etcd", hosts=LOCAL_NAMES, client=True),
    "etcd-client": Subject("kube-apiserver", client=True),
}
# User names and groups of the components: https://kubernetes.io/docs/setup/best-practices/certificates/
CLUSTER_SUBJECTS = {
    "kube-apiserver": Subject("kube-apiserver", hosts=SERVER_NAMES),
    "component": Subject("localhost", hosts=LOCAL_NAMES),
    "admin": Subject("admin", organizations=("system:masters",), client=True),
    "kube-controller-manager": Subject("system:kube-controller-manager", client=True),
    "kube-scheduler": Subject("system:kube-scheduler", client=True),
    # kwok plays kubelet and volume provisioner for every node, so no role of one node would do.
    "kwok": Subject("kwok", organizations=("system:masters",), client=True),
}


def write_pki(directory: Path) -> None:
    """Write every certificate and key below `directory`, as NAME.crt and NAME.key.

    The authorities and the service account key survive a restart, so tokens and data stay valid; all other
    certificates are issued anew.
    """
    for authority_name, subjects in (("etcd-ca", ETCD_SUBJECTS), ("ca", CLUSTER_SUBJECTS)):
        authority = _ensure_authority(directory, authority_name)
        for name, subject in subjects.items():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_pair(directory, name, certificate=issue(authority, subject=subject, key=key), key=key)
    if not (directory / "service-account.key").exists():
        _write_service_account_key(directory)


def create_authority(name: str) -> Authority:
    """Return a new self-signed authority with the common name `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, issuer=subject, key=key, lifetime=AUTHORITY_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    return Authority(certificate=builder.sign(key, hashes.SHA256()), key=key)


def issue(authority: Authority, *, subject: Subject, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Return a certificate for `key`, good for a server when the subject has hosts, for a client when it says so."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.organizations]
    name = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])
    builder = _builder(name, issuer=authority.certificate.subject, key=key, lifetime=CERTIFICATE_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_purposes(subject)), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(signer, critical=False)
    if subject.hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in subject.hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _builder(
    subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _purposes(subject: Subject) -> list[x509.ObjectIdentifier]:
    server = [ExtendedKeyUsageOID.SERVER_AUTH] if subject.hosts else []
    client = [ExtendedKeyUsageOID.CLIENT_AUTH] if subject.client else []
    return [*server, *client]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _ensure_authority(directory: Path, name: str) -> Authority:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    if not certificate.exists():  # written last, so the key is there too
        authority = create_authority(f"local-{name}")
        _write_pair(directory, name, certificate=authority.certificate, key=authority.key)
        return authority
    loaded = load_pem_private_key(key.read_bytes(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key} holds no elliptic curve key")
    return Authority(certificate=x509.load_pem_x509_certificate(certificate.read_bytes()), key=loaded)


def _write_pair(directory: Path, name: str, *, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    write_private(directory / f"{name}.key", _private_pem(key))
    write_private(directory / f"{name}.crt", certificate.public_bytes(Encoding.PEM))


def _write_service_account_key(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(directory / "service-account.pub", public)
    write_private(directory / "service-account.key", _private_pem(key))


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # "EC PRIVATE KEY": the API server's reader of service account keys wants SEC 1 for elliptic curves.
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
