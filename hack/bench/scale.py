"""`python -m hack.bench.scale [--instances N]`: how an operator starts, and rests, beside thousands of instances.

The instances and all their objects are written as an operator before it would have left them, with the status that
controllers would give their workloads: those are paused, for creating some tens of thousands of pods takes an hour on
two cores and changes nothing for the operator, which sees workloads, never their pods.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.encoding import encode
from customer_operator.kube.kinds import path_of
from customer_operator.model.instance import parse
from customer_operator.settings import Settings as OperatorSettings
from hack.bench import tenants
from hack.bench.__main__ import OVERLAY, say
from hack.bench.subject import Subject
from hack.cluster import Client, LocalCluster, Settings
from hack.cluster.client import APPLY, MERGE_PATCH

_IN_FLIGHT = 16
# Not localhost, where each instance would take five node ports.
_DOMAIN = "iot.example.com"
_PARAMS = {"fieldManager": naming.FIELD_MANAGER, "force": "true"}
_INSTANCES = path_of(naming.KIND)
_SPREAD = 3600.0  # seconds between two resyncs of an instance: none falls into the measurement of the start
_REST = 60.0  # seconds
_PATIENCE = 1800.0  # seconds


@dataclass
class Scale:
    """What was measured; memory in MiB, requests as the operator counts them (the Lease aside)."""

    instances: int
    objects: int
    load_s: float
    start_s: float
    start_cpu_s: float
    start_requests: dict[str, float]
    peak_mib: float
    steady_mib: float
    idle_requests: dict[str, float]
    signup_to_namespace_s: float


def main() -> int:
    """Run the measurement; the last line printed is one JSON object with every figure."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.scale", description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    options = parser.parse_args()
    name = f"scale-{int(time.time())}"
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(name, settings=Settings(nodes=1), report=say) as cluster,
    ):
        figures = measure(cluster, Path(folder), count=options.instances)
    for figure, value in asdict(figures).items():
        print(f"{figure:24} {value}")
    print(json.dumps(asdict(figures)))
    return 0


def measure(cluster: LocalCluster, folder: Path, *, count: int) -> Scale:
    """Load the instances, start an operator beside them, and let it rest."""
    cluster.kubectl("apply", "--server-side", "-k", str(OVERLAY))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{naming.PLURAL}.{naming.GROUP}")
    cluster.pause()
    names = [f"scale-{number:05d}" for number in range(count)]
    objects, load_s = _load(cluster, names)
    environment = {"BASE_DOMAIN": _DOMAIN, "RESYNC_INTERVAL": str(_SPREAD)}
    say("an operator reports on all of them for the first time …")
    with Subject(cluster, directory=folder, environment=environment, patience=_PATIENCE):
        pass
    say(f"starting an operator beside {count} instances that are as they should be …")
    started = time.monotonic()
    with Subject(cluster, directory=folder, environment=environment, patience=_PATIENCE) as subject:
        start_s, start_cpu_s = time.monotonic() - started, subject.processor_seconds()
        at_start, peak = subject.requests(), subject.resident_mib(peak=True)
        say(f"resting for {_REST:.0f} s …")
        time.sleep(_REST)
        rested, steady = subject.requests(), subject.resident_mib()
        return Scale(
            instances=count,
            objects=objects,
            load_s=round(load_s, 1),
            start_s=round(start_s, 1),
            start_cpu_s=round(start_cpu_s, 1),
            start_requests=at_start,
            peak_mib=round(peak, 1),
            steady_mib=round(steady, 1),
            idle_requests={verb: total - at_start.get(verb, 0) for verb, total in rested.items()},
            signup_to_namespace_s=round(_signup(cluster), 2),
        )


def _load(cluster: LocalCluster, names: Sequence[str]) -> tuple[int, float]:
    """Write all instances with their objects; return how many objects that are, and the seconds it took."""
    now = datetime.now(UTC)
    authority = certificates.create_authority(now=now)
    platform = OperatorSettings.model_construct(base_domain=_DOMAIN).platform()
    started, objects = time.monotonic(), 0
    with Client(cluster.kubeconfig) as api, ThreadPoolExecutor(max_workers=_IN_FLIGHT) as pool:
        api.send("POST", path_of("Secret", namespace=naming.OPERATOR_NAMESPACE), body=_authority(authority))

        def write(name: str) -> int:
            order = tenants.resource(name)
            order["metadata"]["finalizers"] = [naming.FINALIZER]
            live = api.send("PATCH", f"{_INSTANCES}/{name}", body=order, media_type=APPLY, params=_PARAMS)
            waves = tenants.objects(parse(live), platform=platform, authority=authority, now=now)
            manifests = [item for wave in waves for item in wave]
            for item in manifests:
                _write(api, item)
            return len(manifests)

        for done, written in enumerate(pool.map(write, names), start=1):
            objects += written
            if done % 250 == 0:
                say(f"  {done} of {len(names)} instances are loaded")
    return objects, time.monotonic() - started


def _write(api: Client, manifest: dict[str, Any]) -> None:
    metadata = manifest["metadata"]
    path = path_of(manifest["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
    live = api.send("PATCH", path, body=manifest, media_type=APPLY, params=_PARAMS)
    if (status := _status(live)) is not None:
        api.send("PATCH", f"{path}/status", body={"status": status}, media_type=MERGE_PATCH)


def _status(live: dict[str, Any]) -> dict[str, Any] | None:
    """Return the status that a controller would give a ready object of this kind; None for kinds without one."""
    count = live.get("spec", {}).get("replicas", 1)
    common = {"observedGeneration": 1, "replicas": count, "readyReplicas": count, "updatedReplicas": count}
    match live["kind"]:
        case "Deployment":
            return {**common, "availableReplicas": count}
        case "StatefulSet":
            return {**common, "availableReplicas": count, "currentRevision": "1", "updateRevision": "1"}
        case "ResourceQuota":
            return {"hard": live["spec"]["hard"]}
        case _:
            return None


def _authority(pair: certificates.KeyPair) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": naming.AUTHORITY_SECRET},
        "type": "kubernetes.io/tls",
        "data": encode({"tls.crt": pair.certificate, "tls.key": pair.private_key}),
    }


def _signup(cluster: LocalCluster) -> float:
    """Return the seconds from a new instance's order to its namespace, the first thing written for it."""
    namespace = naming.namespace_of("newcomer")
    path = path_of("Namespace")
    with Client(cluster.kubeconfig) as api:
        version = api.send("GET", path, params={"limit": "1"})["metadata"]["resourceVersion"]
        started = time.monotonic()
        api.send("POST", _INSTANCES, body=tenants.resource("newcomer"))
        for _, live in api.events(path, params={"resourceVersion": version}, timeout=60):
            if live["metadata"]["name"] == namespace:
                return time.monotonic() - started
    raise TimeoutError("the newcomer has no namespace")


if __name__ == "__main__":
    sys.exit(main())
