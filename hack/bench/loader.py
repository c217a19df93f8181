"""The rivals: a raw loader, and `kubectl apply --server-side` of one file."""

import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from customer_operator.kube.kinds import path_of
from hack.bench.tenants import Manifest, Waves
from hack.cluster import Client, LocalCluster
from hack.cluster.client import APPLY

IN_FLIGHT = 10
_PARAMS = {"fieldManager": "bench", "force": "true"}


def load(cluster: LocalCluster, tenants: Sequence[Waves]) -> float:
    """Server-side apply all objects, tenant after tenant, IN_FLIGHT of them at a time; return the seconds it took.

    Each tenant's objects go out one after another, so there are as many requests in flight as tenants. It reads
    nothing, checks nothing and keeps nothing, and its bodies are ready before the clock starts: the least that any
    client has to do to deliver tenants.
    """
    waiting = [[_request(item) for wave in waves for item in wave] for waves in tenants]
    with Client(cluster.kubeconfig) as api, ThreadPoolExecutor(max_workers=IN_FLIGHT) as pool:

        def deliver(requests: Sequence[tuple[str, bytes]]) -> None:
            for path, body in requests:
                api.send("PATCH", path, body=body, media_type=APPLY, params=_PARAMS)

        started = time.monotonic()
        list(pool.map(deliver, waiting))
        return time.monotonic() - started


def kubectl(cluster: LocalCluster, tenants: Sequence[Waves], directory: Path) -> float:
    """Apply all objects with one call of kubectl; return the seconds it took."""
    file = directory / "tenants.yaml"
    file.write_text(yaml.safe_dump_all(_flat(tenants)), encoding="utf-8")
    started = time.monotonic()
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
    return time.monotonic() - started


def _flat(tenants: Iterable[Waves]) -> list[Manifest]:
    return [item for waves in tenants for wave in waves for item in wave]


def _request(manifest: Manifest) -> tuple[str, bytes]:
    metadata = manifest["metadata"]
    path = path_of(manifest["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
    return path, json.dumps(manifest).encode()
