"""Kubeconfig files, with everything embedded so that they can be copied."""

import base64
from collections.abc import Mapping
from pathlib import Path

import yaml

from hack.files import write_private


def certificate_credentials(pki: Path, name: str) -> dict[str, str]:
    """Return the `user` entry of a kubeconfig for the client certificate `name` of the folder `pki`."""
    return {
        "client-certificate-data": _encoded(pki / f"{name}.crt"),
        "client-key-data": _encoded(pki / f"{name}.key"),
    }


def write_kubeconfig(
    path: Path, *, server: str, ca: Path, user: str, credentials: Mapping[str, str], namespace: str = "default"
) -> Path:
    """Write a kubeconfig with one context to `path`, readable by the owner only; return `path`."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority-data": _encoded(ca)}}],
        "users": [{"name": user, "user": dict(credentials)}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user, "namespace": namespace}}],
        "current-context": "local",
    }
    return write_private(path, yaml.safe_dump(content, sort_keys=False))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
