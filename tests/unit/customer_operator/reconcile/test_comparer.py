"""What is ours but no longer wanted goes, whatever else happens meanwhile."""

from typing import cast

from customer_operator.credentials.store import CredentialStore
from customer_operator.kube.client import KubeClient
from customer_operator.observed.cache import ObjectCache, key_of
from customer_operator.reconcile.comparer import Comparer
from tests.support.fake_kube import Call, FakeKube
from tests.support.observed import NAME, desired, live_namespace


async def test_objects_that_somebody_else_deletes_at_the_same_time_do_not_matter() -> None:
    kube, cache = FakeKube(live_namespace(1)), ObjectCache()
    services = [kube.put(desired(name=name)) for name in ("one", "two", "three")]
    for service in services:
        cache.upsert(NAME, service)
    cache.mark_compared(NAME)

    def others_are_faster(call: Call) -> None:
        if call.verb == "delete" and call.name == "one":
            kube.remove("Service", "two", namespace=call.namespace)
            cache.remove(NAME, key_of(services[1]))

    kube.before = others_are_faster
    comparer = Comparer(client=cast("KubeClient", kube), cache=cache, credentials=cast("CredentialStore", None))
    await comparer.compare(NAME, [], touch=True)

    assert cache.objects(NAME) == {}
    assert await kube.list("Service") == []
