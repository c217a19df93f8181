"""Certificates of kubelet and kube-proxy: signed by the control plane's authority, for nobody else to read."""

import datetime
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from customer_operator.credentials.certificates import create_authority
from hack.node.addresses import NODE_ADDRESS
from hack.node.pki import NodeIdentity, issue_identity


@pytest.fixture
def identity(tmp_path: Path) -> NodeIdentity:
    write_authority(tmp_path)
    return issue_identity(tmp_path, control_plane_pki=tmp_path, server="https://127.0.0.1:6443")


def write_authority(folder: Path) -> None:
    """Write an authority where kwokctl does."""
    authority = create_authority(now=datetime.datetime.now(datetime.UTC))
    (folder / "ca.crt").write_text(authority.certificate, encoding="ascii")
    (folder / "ca.key").write_text(authority.private_key, encoding="ascii")


def client_certificate(kubeconfig: Path) -> x509.Certificate:
    user = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]
    return x509.load_pem_x509_certificate(Path(user["client-certificate"]).read_bytes())


def test_kubelet_and_proxy_are_who_kubernetes_expects(identity: NodeIdentity) -> None:
    kubelet, proxy = map(client_certificate, (identity.kubelet_kubeconfig, identity.proxy_kubeconfig))
    assert kubelet.subject.rfc4514_string() == "CN=system:node:node,O=system:nodes"
    assert proxy.subject.rfc4514_string() == "CN=system:kube-proxy"


def test_all_are_signed_by_the_authority_of_the_control_plane(identity: NodeIdentity) -> None:
    authority = x509.load_pem_x509_certificate(identity.authority.read_bytes())
    server = x509.load_pem_x509_certificate(identity.kubelet_server.certificate.read_bytes())
    for certificate in (server, client_certificate(identity.kubelet_kubeconfig)):
        certificate.verify_directly_issued_by(authority)


def test_each_certificate_is_for_its_own_side_of_a_connection(identity: NodeIdentity) -> None:
    server = x509.load_pem_x509_certificate(identity.kubelet_server.certificate.read_bytes())
    for certificate, side in (
        (server, ExtendedKeyUsageOID.SERVER_AUTH),
        (client_certificate(identity.kubelet_kubeconfig), ExtendedKeyUsageOID.CLIENT_AUTH),
        (client_certificate(identity.proxy_kubeconfig), ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [side]


def test_the_kubelet_answers_at_the_address_of_its_node(identity: NodeIdentity) -> None:
    server = x509.load_pem_x509_certificate(identity.kubelet_server.certificate.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [NODE_ADDRESS]


def test_nobody_else_can_read_a_key(identity: NodeIdentity) -> None:
    kubeconfig = yaml.safe_load(identity.kubelet_kubeconfig.read_text(encoding="utf-8"))
    key = Path(kubeconfig["users"][0]["user"]["client-key"])
    assert {path.stat().st_mode & 0o777 for path in (key, identity.kubelet_server.key)} == {0o600}
