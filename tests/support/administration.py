"""What administrators do to the platform and to one customer's instance, as docs/operations.md tells them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from billing_api.licensing.keys import SigningKey
from billing_api.licensing.licenses import Term, sign
from customer_operator import naming
from customer_operator.credentials.encoding import decode
from customer_operator.naming import Manifest
from customer_operator.settings import Settings
from hack.platform import install, secrets
from hack.platform.install import OVERLAYS
from tests.support.clusters import Cluster
from tests.support.platform import PATIENCE, Customer

_OPERATOR = ("deployment/customer-operator", "--namespace", naming.OPERATOR_NAMESPACE)


def change(customer: Customer, **spec: Any) -> None:
    """Change fields of an instance's spec."""
    customer.api.patch(naming.KIND, customer.name, {"spec": spec})


def try_again(customer: Customer) -> None:
    """Ask for another try, and wait until it was made."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotation = {"metadata": {"annotations": {naming.RETRY_AT_ANNOTATION: moment}}}
    customer.api.patch(naming.KIND, customer.name, annotation)

    def answered(live: Manifest | None) -> bool:
        return live is not None and live["status"].get("lastHandledRetryAt") == moment

    customer.api.wait_for(naming.KIND, customer.name, answered, timeout=PATIENCE)


def license_for(customer: Customer, plan: str) -> str:
    """Return a license for a plan, signed as the billing API signs, with its key."""
    keys = customer.api.get("Secret", secrets.SIGNING_KEYS, namespace=secrets.NAMESPACE)["data"]
    private = serialization.load_pem_private_key(decode(next(iter(keys.values()))).encode(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    now = datetime.now(UTC)
    term = Term(
        customer_id=customer.id,
        instance_name=customer.name,
        plan=plan,
        issued_at=now,
        expires_at=now + timedelta(days=30),
    )
    key, issuer = SigningKey.from_private(private), Settings().license_issuer
    return sign(term, key=key, issuer=issuer, jti=uuid4(), sequence=2).jwt


def served_certificate(customer: Customer) -> x509.Certificate:
    """Return the certificate that the broker shows to a device which trusts the customer's CA."""
    with (
        socket.create_connection(customer.cluster.front_door) as plain,
        customer.trust().wrap_socket(plain) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown)


def reconfigure(cluster: Cluster, folder: Path, **settings: str) -> None:
    """Install the product with other settings of the operator, by an overlay of one's own in an empty folder."""
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(OVERLAYS / "node", folder.resolve())],
        "configMapGenerator": [
            {
                "name": "customer-operator-settings",
                "namespace": naming.OPERATOR_NAMESPACE,
                "behavior": "merge",
                "literals": [f"{name}={value}" for name, value in settings.items()],
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    install(cluster, overlay=folder, report=print)


@contextmanager
def without_operator(cluster: Cluster) -> Iterator[None]:
    """Have no operator run for as long as the block lasts; after it there are as many replicas as before."""
    replicas = cluster.kubectl("get", *_OPERATOR, "--output=jsonpath={.spec.replicas}")
    cluster.kubectl("scale", *_OPERATOR, "--replicas=0")
    pods = ("pods", "--selector=app.kubernetes.io/name=customer-operator", "--namespace", naming.OPERATOR_NAMESPACE)
    cluster.kubectl("wait", *pods, "--for=delete", f"--timeout={PATIENCE:g}s")
    try:
        yield
    finally:
        cluster.kubectl("scale", *_OPERATOR, f"--replicas={replicas}")
