"""The API server in memory does what the real one does, as far as the operator's own tests rely on it."""

import pytest

from customer_operator import naming
from customer_operator.errors import AlreadyExists, ClusterError, ClusterUnreachable, Conflict
from customer_operator.naming import Manifest
from tests.support.fake_kube import Call, FakeKube
from tests.support.generate import make_resource


def secret(name: str = "one", *, labels: dict[str, str] | None = None, **data: str) -> Manifest:
    metadata = {"name": name, "namespace": "home", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def namespace(name: str = "home") -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def without_version(resource: Manifest) -> Manifest:
    metadata = {key: value for key, value in resource["metadata"].items() if key != "resourceVersion"}
    return {**resource, "metadata": metadata}


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(namespace())


async def test_what_is_created_is_found_and_cannot_be_created_again(kube: FakeKube) -> None:
    live = await kube.create(secret(a="1"))

    assert await kube.get("Secret", "one", namespace="home") == live
    assert {"uid", "resourceVersion", "generation", "creationTimestamp"} <= live["metadata"].keys()
    with pytest.raises(AlreadyExists):
        await kube.create(secret())
    assert await kube.get("Secret", "two", namespace="home") is None


async def test_an_answer_is_nobody_elses(kube: FakeKube) -> None:
    live = await kube.create(secret(a="1"))
    live["data"]["a"] = "changed by the caller"

    found = await kube.get("Secret", "one", namespace="home")
    assert found is not None
    assert found["data"] == {"a": "1"}


async def test_apply_removes_what_it_no_longer_names_and_leaves_what_others_have_added(kube: FakeKube) -> None:
    live = await kube.apply(secret(labels={"ours": "1"}, a="1", b="1"))
    await kube.merge(live, {"data": {"c": "3"}, "metadata": {"labels": {"theirs": "1"}}})

    live = await kube.apply(secret(a="2"))
    assert live["data"] == {"a": "2", "c": "3"}
    assert live["metadata"]["labels"] == {"theirs": "1"}


async def test_apply_adds_and_removes_its_own_finalizer_only() -> None:
    resource = make_resource()
    resource["metadata"]["finalizers"] = ["theirs"]
    kube = FakeKube(resource)
    name, uid = resource["metadata"]["name"], resource["metadata"]["uid"]

    assert (await kube.apply(naming.with_finalizer(name, uid)))["metadata"]["finalizers"] == [
        "theirs",
        naming.FINALIZER,
    ]
    assert (await kube.apply(naming.without_finalizer(name, uid)))["metadata"]["finalizers"] == ["theirs"]


async def test_a_write_that_changes_nothing_leaves_the_version_and_one_of_the_spec_counts_a_generation() -> None:
    kube = FakeKube(make_resource())
    body = without_version(make_resource(plan="trial"))

    first, again = await kube.apply(body), await kube.apply(body)
    assert first == again
    assert first["metadata"]["generation"] == 2
    labelled = await kube.merge(first, {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 2
    assert labelled["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


async def test_the_status_is_written_on_its_own() -> None:
    kube = FakeKube(make_resource())
    written = await kube.apply(
        naming.resource(make_resource(), status={"phase": "Ready", "ports": {}}), subresource="status"
    )
    await kube.apply({**without_version(make_resource(plan="trial")), "status": {"phase": "ignored"}})
    await kube.merge(written, {"status": {"phase": "ignored"}})

    live = kube.find(naming.KIND, "acme")
    assert live is not None
    assert (live["status"], live["spec"]["plan"]) == ({"phase": "Ready", "ports": {}}, "trial")
    live = await kube.apply(naming.resource(make_resource(), status={"progress": 1}), subresource="status")
    assert live["status"] == {"progress": 1}


@pytest.mark.parametrize("uid", ["another", ""])
async def test_apply_with_the_uid_of_an_object_that_is_gone_is_a_conflict(uid: str) -> None:
    kube = FakeKube(*([make_resource()] if uid else []))

    with pytest.raises(Conflict):
        await kube.apply(naming.with_finalizer("acme", uid))


async def test_a_status_without_its_object_is_not_found() -> None:
    with pytest.raises(ClusterError) as refused:
        await FakeKube().apply(naming.resource(make_resource(), status={}), subresource="status")

    assert refused.value.status == 404


async def test_replace_wants_the_present_version(kube: FakeKube) -> None:
    live = await kube.create(secret(a="1"))
    await kube.replace({**live, "data": {"b": "2"}})

    with pytest.raises(Conflict):
        await kube.replace(live)
    found = kube.find("Secret", "one", namespace="home")
    assert found is not None
    assert found["data"] == {"b": "2"}


async def test_delete_wants_the_very_object(kube: FakeKube) -> None:
    live = await kube.create(secret())

    with pytest.raises(Conflict):
        await kube.delete("Secret", "one", uid="another", namespace="home")
    assert await kube.delete("Secret", "one", uid=live["metadata"]["uid"], namespace="home")
    assert not await kube.delete("Secret", "one", uid=live["metadata"]["uid"], namespace="home")


async def test_what_has_a_finalizer_goes_when_it_has_been_taken_off(kube: FakeKube) -> None:
    live = await kube.create({**secret(), "metadata": {"name": "one", "namespace": "home", "finalizers": ["a"]}})
    await kube.delete("Secret", "one", uid=live["metadata"]["uid"], namespace="home")

    marked = kube.find("Secret", "one", namespace="home")
    assert marked is not None
    assert marked["metadata"]["deletionTimestamp"]
    await kube.merge(marked, {"metadata": {"finalizers": None}})
    assert kube.find("Secret", "one", namespace="home") is None


async def test_nothing_is_created_in_a_namespace_that_is_missing_or_terminating(kube: FakeKube) -> None:
    await kube.create(secret())
    home = kube.find("Namespace", "home")
    assert home is not None
    await kube.delete("Namespace", "home", uid=home["metadata"]["uid"])

    with pytest.raises(ClusterError, match="is being terminated"):
        await kube.create(secret("two"))
    kube.remove("Namespace", "home")
    assert kube.find("Secret", "one", namespace="home") is None
    with pytest.raises(ClusterError) as refused:
        await kube.apply(secret("two"))
    assert refused.value.status == 404


async def test_a_list_is_of_one_kind_and_namespace_and_of_all_labels(kube: FakeKube) -> None:
    kube.put(namespace("elsewhere"))
    for name, labels in (("one", {"a": "1", "b": "1"}), ("two", {"a": "1"})):
        await kube.create(secret(name, labels=labels))
    kube.put({**secret(), "metadata": {"name": "three", "namespace": "elsewhere", "labels": {"a": "1"}}})

    async def names(space: str | None, **labels: str) -> list[str]:
        return [item["metadata"]["name"] for item in await kube.list("Secret", namespace=space, selector=labels)]

    assert await names("home", a="1") == ["one", "two"]
    assert await names("home", a="1", b="1") == ["one"]
    assert await names(None) == ["one", "two", "three"]


async def test_requests_are_recorded_and_may_be_made_to_fail(kube: FakeKube) -> None:
    kube.fail("create", ClusterUnreachable("away"), kind="Secret", times=2)

    for _ in range(2):
        with pytest.raises(ClusterUnreachable):
            await kube.create(secret())
    await kube.create(secret())
    await kube.get("Secret", "one", namespace="home")
    assert kube.writes == [Call("create", "Secret", "one", "home")] * 3
    assert kube.calls[-1] == Call("get", "Secret", "one", "home")
