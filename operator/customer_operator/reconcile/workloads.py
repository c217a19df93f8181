"""Stops the workloads of an instance, for its deletion or its suspension: everything is scaled to zero, and stays."""

import asyncio

from customer_operator import naming
from customer_operator.components import namespace as namespace_builder
from customer_operator.errors import PermissionMissing
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.kube.kinds import WORKLOADS
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed import drift


async def stop_workloads(client: KubeClient, name: str, platform: Platform) -> list[str]:
    """Scale an instance's workloads to zero and return the names of those that still run."""
    namespace, selector = naming.namespace_of(name), {naming.INSTANCE_LABEL: name}
    lists = await asyncio.gather(*(client.list(kind, namespace=namespace, selector=selector) for kind in WORKLOADS))
    workloads = [item for items in lists for item in items]
    for item in workloads:
        if item["spec"].get("replicas", 1):
            await _stop(client, name, item, platform)
    return [item["metadata"]["name"] for item in workloads if (item.get("status") or {}).get("replicas")]


async def _stop(client: KubeClient, name: str, workload: Manifest, platform: Platform) -> None:
    nothing = {"spec": {"replicas": 0}}
    try:
        await client.merge(workload, nothing)
    except PermissionMissing:
        # Somebody removed our binding, or we have died before we made it.
        await client.apply(drift.with_hash(namespace_builder.role_binding(name, platform)))
        await patiently(client.merge, workload, nothing)
