"""The rivals: a raw loader by each of two HTTP libraries, and `kubectl apply --server-side` of one file."""

import asyncio
import json
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import yaml

from customer_operator.kube.configuration import load_configuration
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
    client has to do to deliver tenants. By aiohttp, which is also the operator's HTTP library: what the operator is
    slower by is then its own.
    """
    waiting = iter(_requests(tenants))

    async def run() -> float:
        configuration, _ = await load_configuration(cluster.kubeconfig)
        tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        connector = aiohttp.TCPConnector(ssl=tls, limit=IN_FLIGHT)
        async with aiohttp.ClientSession(configuration.host, connector=connector) as session:
            started = time.monotonic()
            await asyncio.gather(*(_deliver(session, waiting) for _ in range(IN_FLIGHT)))
            return time.monotonic() - started

    return asyncio.run(run())


async def _deliver(session: aiohttp.ClientSession, waiting: Iterator[Sequence[tuple[str, bytes]]]) -> None:
    headers = {"Content-Type": APPLY, "Accept": "application/json"}
    for requests in waiting:
        for path, body in requests:
            async with session.patch(path, data=body, headers=headers, params=_PARAMS) as answer:
                if answer.status >= 300:
                    raise RuntimeError(f"the loader's {path}: {answer.status} {await answer.text()}")
                await answer.read()


def load_by_threads(cluster: LocalCluster, tenants: Sequence[Waves]) -> float:
    """Do what `load` does with urllib3 and threads, which take less processor time; return the seconds it took."""
    waiting = _requests(tenants)
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


def _requests(tenants: Iterable[Waves]) -> list[list[tuple[str, bytes]]]:
    return [[_request(item) for wave in waves for item in wave] for waves in tenants]


def _request(manifest: Manifest) -> tuple[str, bytes]:
    metadata = manifest["metadata"]
    path = path_of(manifest["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
    return path, json.dumps(manifest).encode()
