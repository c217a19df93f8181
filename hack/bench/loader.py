"""The rivals: a raw asyncio loader, and `kubectl apply --server-side` of one file."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from customer_operator.kube.kinds import path_of
from hack.bench import admin
from hack.bench.tenants import Manifest, Waves
from hack.cluster import LocalCluster

IN_FLIGHT = 10
_HEADERS = {"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"}


async def load(cluster: LocalCluster, tenants: Sequence[Waves]) -> float:
    """Server-side apply all objects, tenant after tenant, IN_FLIGHT of them at a time; return the seconds it took.

    Each tenant's objects go out one after another, so there are as many requests in flight as tenants. It reads
    nothing, checks nothing and keeps nothing, and its bodies are ready before the clock starts: the least that any
    client has to do to deliver tenants.
    """
    waiting = iter([[_request(item) for wave in waves for item in wave] for waves in tenants])
    async with admin.connect(cluster, limit=IN_FLIGHT) as session:

        async def work() -> None:
            for requests in waiting:
                for path, body in requests:
                    async with session.patch(path, data=body, headers=_HEADERS) as answer:
                        if answer.status >= 300:
                            raise RuntimeError(f"the loader's {path}: {answer.status} {await answer.text()}")
                        await answer.read()

        started = time.monotonic()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
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
    return f"{path}?fieldManager=bench&force=true", json.dumps(manifest).encode()
