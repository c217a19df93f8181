"""Certificates for kubelet and kube-proxy, signed by the authority of the control plane, and their kubeconfigs."""

import datetime
import ipaddress
import warnings
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.errors import NodeError
from hack.files import write_private
from hack.node.addresses import NODE_ADDRESS, NODE_NAME

# Longer than any node that is made for tests is up.
VALID_FOR = datetime.timedelta(days=365)
# The clocks of a control plane and its node are the same; other programs may look a little later.
BACKDATED = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """The files of a certificate and of its private key."""

    certificate: Path
    key: Path


class Authority:
    """The control plane's authority, whose certificate and key kwokctl keeps in `pki`."""

    def __init__(self, pki: Path) -> None:
        self.certificate_file = pki / "ca.crt"
        with warnings.catch_warnings():  # kwokctl gives it the serial number 0
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise NodeError(f"{pki}/ca.key is no key that signs certificates here")
        self._key = key

    def issue(self, folder: Path, name: str, *, user: str, group: str = "", addresses: tuple[str, ...] = ()) -> KeyPair:
        """Write a key pair `name` to `folder`: for a client of that user and group, or a server at `addresses`."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if addresses else ExtendedKeyUsageOID.CLIENT_AUTH
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(user, group))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + VALID_FOR)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if addresses:
            names = [x509.DNSName(NODE_NAME), *(x509.IPAddress(ipaddress.ip_address(entry)) for entry in addresses)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(
            certificate=write_private(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM)),
            key=write_private(folder / f"{name}.key", private),
        )


@dataclass(frozen=True)
class NodeIdentity:
    """By what kubelet and kube-proxy are known, and the authority that they trust."""

    authority: Path
    kubelet_server: KeyPair
    kubelet_kubeconfig: Path
    proxy_kubeconfig: Path


def issue_identity(folder: Path, *, control_plane_pki: Path, server: str) -> NodeIdentity:
    """Write to `folder` all by which the node's programs show who they are to the API server at `server`, and to it."""
    authority = Authority(control_plane_pki)
    kubelet = authority.issue(folder, "kubelet", user=f"system:node:{NODE_NAME}", group="system:nodes")
    proxy = authority.issue(folder, "kube-proxy", user="system:kube-proxy")
    return NodeIdentity(
        authority=authority.certificate_file,
        kubelet_server=authority.issue(folder, "kubelet-server", user=NODE_NAME, addresses=(NODE_ADDRESS,)),
        kubelet_kubeconfig=_write_kubeconfig(folder / "kubelet.kubeconfig", authority, server=server, client=kubelet),
        proxy_kubeconfig=_write_kubeconfig(folder / "kube-proxy.kubeconfig", authority, server=server, client=proxy),
    )


def _subject(user: str, group: str) -> x509.Name:
    organization = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _write_kubeconfig(path: Path, authority: Authority, *, server: str, client: KeyPair) -> Path:
    cluster = {"server": server, "certificate-authority": str(authority.certificate_file)}
    user = {"client-certificate": str(client.certificate), "client-key": str(client.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    return write_private(path, yaml.safe_dump(content, sort_keys=False))
