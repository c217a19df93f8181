"""Measures a stack at rest and with a device at work."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hack.demo.amounts import Container, Measured, containers
from hack.node import NodeCluster, Usage, read_usage
from hack.platform import CustomerStack

IDLE_SECONDS = BUSY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What each container has used, and how much `work` was done in how many seconds."""

    containers: Sequence[Measured]
    count: int
    seconds: float


def measure(node: NodeCluster, customer: CustomerStack, *, work: Callable[[float], int]) -> Measurement:
    """Watch a customer's containers for a while, then during `work`, which ends at a time and returns its amount."""
    pods = json.loads(node.kubectl("get", "pods", "--namespace", customer.namespace, "--output=json"))["items"]
    found = list(containers(pods))
    before = _usages(node, found)
    time.sleep(IDLE_SECONDS)
    idle = _usages(node, found)
    began = time.monotonic()
    count = work(began + BUSY_SECONDS)
    busy = _usages(node, found)
    return Measurement(
        containers=[
            Measured(container=one, before=before[one.id], idle=idle[one.id], busy=busy[one.id]) for one in found
        ],
        count=count,
        seconds=time.monotonic() - began,
    )


def _usages(node: NodeCluster, found: Sequence[Container]) -> Mapping[str, Usage]:
    return {one.id: read_usage(node.files.cgroup, one.id) for one in found}
