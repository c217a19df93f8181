"""The applier: what stands in the way of an apply is overwritten, and only so many writes are in flight."""

import asyncio
from typing import cast

import pytest

from customer_operator.errors import AdmissionRefused, ClusterError, Conflict
from customer_operator.kube.client import KubeClient
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.reconcile.applier import Applier
from customer_operator.reconcile.quota_gate import QuotaGate
from tests.support.fake_kube import Call, FakeKube
from tests.support.observed import KEY, NAME, desired, live_namespace
from tests.support.queues import Clock

REFUSED = AdmissionRefused("PATCH: 422 spec.ports[1].name: Duplicate value", status=422)


class CrowdedKube(FakeKube):
    """Counts the applies in flight, each of which takes some turns of the event loop."""

    in_flight = most = 0

    async def apply(self, manifest: Manifest, *, subresource: str = "") -> Manifest:
        """Apply slowly."""
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        for _ in range(5):
            await asyncio.sleep(0)
        self.in_flight -= 1
        return await super().apply(manifest, subresource=subresource)


@pytest.fixture
def kube() -> CrowdedKube:
    return CrowdedKube(live_namespace(1))


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache()


@pytest.fixture
def applier(kube: CrowdedKube, cache: ObjectCache) -> Applier:
    gate = QuotaGate(cache=cache, wait=2.0, clock=lambda: 0.0)
    return Applier(client=cast("KubeClient", kube), cache=cache, gate=gate, concurrency=3)


def spoilt(**metadata: object) -> Manifest:
    """Return the Service as somebody has left it, with a label and a port of his own."""
    manifest = desired()
    labels = {**manifest["metadata"]["labels"], "theirs": "1"}
    ports = [*manifest["spec"]["ports"], {"name": "theirs", "port": 81}]
    spec = {"ports": ports, "clusterIP": "10.0.0.1"}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels, **metadata}, "spec": spec}


def calls(kube: FakeKube) -> list[str]:
    return [call.verb for call in kube.calls]


async def test_what_is_applied_is_known_to_be_right(applier: Applier, kube: FakeKube, cache: ObjectCache) -> None:
    await applier.apply(NAME, [desired()])
    assert not cache.needs_apply(NAME, desired())

    kube.calls.clear()
    await applier.apply(NAME, [desired()])
    assert kube.calls == []


async def test_an_object_whose_apply_is_refused_for_what_others_added_is_overwritten(
    applier: Applier, kube: FakeKube, cache: ObjectCache
) -> None:
    kube.put(spoilt())
    kube.fail("apply", REFUSED, kind="Service")
    await applier.apply(NAME, [desired()])

    assert calls(kube) == ["apply", "get", "replace", "apply"]
    live = kube.find("Service", "api", namespace="customer-acme")
    assert live is not None
    assert live["spec"]["ports"] == desired()["spec"]["ports"]
    assert live["metadata"]["labels"]["theirs"] == "1"
    assert cache.object(NAME, KEY) is not None
    assert not cache.needs_apply(NAME, desired())


async def test_an_object_that_is_not_right_after_its_apply_is_overwritten(applier: Applier, kube: FakeKube) -> None:
    """A port that somebody added stands beside ours: an apply leaves it alone."""
    kube.put(spoilt(ownerReferences=[{"uid": "a stranger"}]))
    await applier.apply(NAME, [desired()])

    assert calls(kube) == ["apply", "replace", "apply"]
    live = kube.find("Service", "api", namespace="customer-acme")
    assert live is not None
    assert not live["metadata"].get("ownerReferences")


async def test_an_object_that_is_refused_though_it_does_not_exist_is_refused(applier: Applier, kube: FakeKube) -> None:
    kube.fail("apply", REFUSED)
    with pytest.raises(AdmissionRefused):
        await applier.apply(NAME, [desired()])
    assert calls(kube) == ["apply", "get"]


async def test_somebody_who_is_faster_than_our_overwriting_is_a_conflict(applier: Applier, kube: FakeKube) -> None:
    kube.put(spoilt())
    kube.fail("apply", REFUSED, kind="Service")
    kube.fail("replace", Conflict("409", status=409))

    with pytest.raises(Conflict):
        await applier.apply(NAME, [desired()])


async def test_so_many_writes_are_in_flight_and_no_more(applier: Applier, kube: CrowdedKube) -> None:
    await applier.apply(NAME, [desired(name=f"s{number}") for number in range(10)])

    assert kube.most == 3


async def test_when_one_of_a_wave_fails_the_others_are_applied_and_the_next_wave_is_not(
    applier: Applier, kube: FakeKube
) -> None:
    account = _of_the_api("v1", "ServiceAccount")
    kube.fail("apply", ClusterError("500", status=500), name="s0")
    with pytest.raises(ClusterError, match="500"):
        await applier.apply(NAME, [*(desired(name=f"s{number}") for number in range(5)), account])

    assert [call.name for call in kube.calls] == ["s0", "s1", "s2", "s3", "s4"]
    assert Call("apply", "ServiceAccount", "api", "customer-acme") not in kube.calls


async def test_workloads_wait_from_the_time_the_quota_is_there_not_until_all_else_is(cache: ObjectCache) -> None:
    clock = Clock()

    class Hasty(FakeKube):
        async def apply(self, manifest: Manifest, *, subresource: str = "") -> Manifest:
            live = await super().apply(manifest, subresource=subresource)
            clock.now += 0.5 if manifest["kind"] == "ServiceAccount" else 0.0
            return live

    gate = QuotaGate(cache=cache, wait=2.0, clock=clock)
    kube = cast("KubeClient", Hasty(live_namespace(1)))
    applier = Applier(client=kube, cache=cache, gate=gate, concurrency=1)
    quota = {**_of_the_api("v1", "ResourceQuota"), "spec": {"hard": {"pods": "9"}}}
    stack = [quota, _of_the_api("v1", "ServiceAccount"), _of_the_api("apps/v1", "Deployment")]

    assert await applier.apply(NAME, stack) == 1.5


def _of_the_api(version: str, kind: str) -> Manifest:
    metadata = {"name": "api", "namespace": "customer-acme", "annotations": {}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
