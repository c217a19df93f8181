"""The finalizer at the end of a deletion, whoever has put it on the resource."""

from datetime import UTC, datetime
from typing import cast

import pytest

from customer_operator import naming
from customer_operator.kube.client import KubeClient
from customer_operator.model.instance import parse_deletion
from customer_operator.model.platform import Platform
from customer_operator.reconcile.deletion import Deletion
from tests.support.fake_kube import FakeKube

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOLD = "example.com/backup"


@pytest.mark.parametrize(
    ("finalizers", "left"),
    [([naming.FINALIZER], None), ([HOLD, naming.FINALIZER], [HOLD]), ([naming.FINALIZER, HOLD], [HOLD])],
)
async def test_a_finalizer_that_somebody_else_has_written_does_not_hold_the_resource(
    finalizers: list[str], left: list[str] | None
) -> None:
    """So it is after `kubectl get -o yaml`, delete and create: what another manager names, apply leaves alone."""
    kube = FakeKube()
    metadata = {"name": "acme", "finalizers": finalizers, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    body = kube.put({"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": {}})
    request = parse_deletion(body)
    assert request is not None

    progress = await Deletion(client=cast("KubeClient", kube), platform=cast("Platform", None)).advance(
        request, now=NOW
    )

    assert progress.done
    live = kube.find(naming.KIND, "acme")
    assert (live["metadata"]["finalizers"] if live else None) == left
