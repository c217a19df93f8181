"""Installs the product into a cluster as docs/operations.md tells an administrator to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hack.paths import PROJECT_ROOT
from hack.platform import secrets
from hack.platform.cluster import Cluster

OVERLAYS: Final = PROJECT_ROOT / "manifests" / "overlays"
_NAMESPACE_FILE: Final = PROJECT_ROOT / "manifests" / "base" / "namespace-billing.yaml"
#: Long enough for a first start on two busy cores; a rollout that stands still says so itself.
_ROLLOUT: Final = "--timeout=300s"
_PROGRAMS: Final = (
    ("billing", "statefulset/billing-postgres"),
    ("billing", "deployment/billing-api"),
    ("iotistic-system", "deployment/customer-operator"),
    ("mqtt-router", "deployment/mqtt-router"),
)


def install(cluster: Cluster, *, overlay: Path = OVERLAYS / "node", report: Callable[[str], None]) -> None:
    """Apply an overlay, with Secrets of its own unless there are some, and wait until every program is ready.

    Raises the error of `cluster.kubectl` when something is refused, or not ready in time. May be repeated.
    """
    report("making the platform's Secrets")
    cluster.kubectl("apply", "--server-side", "--filename", str(_NAMESPACE_FILE))
    _make_secrets(cluster)
    report(f"applying overlay {overlay.name}")
    cluster.kubectl("apply", "--server-side", "--kustomize", str(overlay))
    for namespace, program in _PROGRAMS:
        report(f"waiting for {program}")
        cluster.kubectl("rollout", "status", program, "--namespace", namespace, _ROLLOUT)


def _make_secrets(cluster: Cluster) -> None:
    """Make those that are not there: each of them, made anew, would lock somebody out or void every license."""
    options = ("--namespace", secrets.NAMESPACE, "--output=json", "--ignore-not-found")
    found = json.loads(cluster.kubectl("get", "secret", *secrets.NAMES, *options) or '{"items": []}')
    for secret in secrets.missing({item["metadata"]["name"]: item for item in found["items"]}):
        # By standard input: arguments are for everybody to read. One by one, and never over one that is there.
        cluster.kubectl("create", "--filename=-", input=json.dumps(secret))
