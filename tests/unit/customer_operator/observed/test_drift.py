"""What counts as drift: hashes of manifests and of live objects, and full comparison."""

import copy
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.model.hashing import hash_of
from customer_operator.naming import Manifest
from customer_operator.observed import drift


def config_map(**data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "customer-acme", "labels": {"app": "x"}},
        "data": dict(data),
    }


def live(manifest: Manifest) -> Manifest:
    """Return a manifest as the server gives it back, with its bookkeeping."""
    body = copy.deepcopy(manifest)
    body["metadata"] |= {"uid": "u-1", "resourceVersion": "7", "creationTimestamp": "2026-11-21T12:00:00Z"}
    body["metadata"]["managedFields"] = [{"manager": naming.FIELD_MANAGER}]
    return body


def changed(body: Manifest, *path: str, value: Any) -> Manifest:
    body = copy.deepcopy(body)
    target = body
    for key in path[:-1]:
        target = target.setdefault(key, {})
    target[path[-1]] = value
    return body


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert hash_of({"a": 1, "b": [2, {"c": 3, "d": 4}]}) == hash_of({"b": [2, {"d": 4, "c": 3}], "a": 1})


@pytest.mark.parametrize("other", [{"a": "1"}, {"a": None}, {"a": [1]}, {}, {"a": 1, "b": None}])
def test_different_values_have_different_hashes(other: dict[str, Any]) -> None:
    assert hash_of(other) != hash_of({"a": 1})


def test_a_hash_is_thirty_two_hexadecimal_digits() -> None:
    assert len(hash_of({})) == 32
    int(hash_of({}), 16)


def test_with_hash_adds_the_hash_and_leaves_the_manifest_alone() -> None:
    manifest = config_map(a="1")
    before = copy.deepcopy(manifest)

    with_hash = drift.with_hash(manifest)

    assert manifest == before
    assert drift.applied_hash(with_hash) == hash_of(manifest)
    assert {**with_hash, "metadata": {**with_hash["metadata"], "annotations": None}} == {
        **manifest,
        "metadata": {**manifest["metadata"], "annotations": None},
    }


def test_with_hash_keeps_other_annotations() -> None:
    manifest = changed(config_map(), "metadata", "annotations", value={"cert-manager.io/cluster-issuer": "x"})

    assert drift.with_hash(manifest)["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "x"


@pytest.mark.parametrize("annotations", [{}, None, {"other": "x"}])
def test_an_object_that_was_never_applied_by_us_has_no_hash(annotations: Any) -> None:
    assert drift.applied_hash({"metadata": {"annotations": annotations}}) is None


BASE = live(drift.with_hash(config_map(a="1")))


@pytest.mark.parametrize(
    "same",
    [
        changed(BASE, "metadata", "resourceVersion", value="8"),
        changed(BASE, "metadata", "managedFields", value=[]),
        changed(BASE, "metadata", "annotations", "deployment.kubernetes.io/revision", value="2"),
        changed(BASE, "status", "observedGeneration", value=3),
    ],
    ids=["resourceVersion", "managedFields", "annotation of a controller", "status"],
)
def test_bookkeeping_does_not_change_the_content_hash(same: Manifest) -> None:
    assert drift.content_hash(same) == drift.content_hash(BASE)


@pytest.mark.parametrize(
    "other",
    [
        changed(BASE, "data", "a", value="2"),
        changed(BASE, "data", value={}),
        changed(BASE, "immutable", value=True),
        changed(BASE, "metadata", "labels", "app", value="y"),
        changed(BASE, "metadata", "labels", value=None),
        changed(BASE, "metadata", "annotations", naming.APPLIED_HASH_ANNOTATION, value="0"),
        changed(BASE, "metadata", "ownerReferences", value=[{"uid": "u-2"}]),
    ],
    ids=["value", "values gone", "new field", "label", "labels gone", "our annotation", "owner"],
)
def test_a_change_of_content_changes_the_content_hash(other: Manifest) -> None:
    assert drift.content_hash(other) != drift.content_hash(BASE)


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": {"b": 1, "default": "x"}}, {"a": {"b": 1}}),
        ([{"name": "http", "protocol": "TCP"}], [{"name": "http"}]),
        ({}, {"a": None}),
        ({"a": None}, {"a": None}),
        ({}, {"ingress": []}),
        ({"ingress": []}, {"ingress": []}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
        ("80", "80"),
    ],
)
def test_what_is_desired_may_stand_among_the_servers_defaults(have: Any, want: Any) -> None:
    assert drift.contains(have, want)


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": None}),
        ({"a": [1]}, {"a": []}),
        ({}, {"emptyDir": {}}),
        ({"podSelector": {"matchLabels": {"no": "pod"}}}, {"podSelector": {}}),
        ({"emptyDir": {"medium": "Memory"}}, {"emptyDir": {}}),
        ({}, {"automountServiceAccountToken": False}),
        ({}, {"replicas": 0}),
        ([1, 2], [1]),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ([{"name": "tmp", "hostPath": {"path": "/"}}], [{"name": "tmp", "emptyDir": {}}]),
        ([{"name": "a"}, {"name": "injected"}], [{"name": "a"}]),
        ({"0": 1}, [1]),
        ([1], {"0": 1}),
        (None, {}),
        ("80", 80),
    ],
)
def test_what_differs_from_what_is_desired_is_found(have: Any, want: Any) -> None:
    assert not drift.contains(have, want)


def test_an_object_as_applied_is_in_sync() -> None:
    assert drift.in_sync(BASE, drift.with_hash(config_map(a="1")))


def test_a_field_that_is_no_longer_desired_is_seen_by_the_hash_alone() -> None:
    """The live object contains all that is desired, and one field more that would stay for ever."""
    live, desired = drift.with_hash(config_map(a="1", b="2")), drift.with_hash(config_map(a="1"))

    assert drift.contains({**live, "metadata": desired["metadata"]}, desired)
    assert not drift.in_sync(live, desired)


def test_a_changed_value_is_seen_although_the_hash_is_still_ours() -> None:
    assert not drift.in_sync(changed(BASE, "data", "a", value="2"), drift.with_hash(config_map(a="1")))


def test_overwriting_drops_what_others_added_but_keeps_their_labels_and_annotations() -> None:
    found = changed(BASE, "data", "injected", value="x")
    found = changed(found, "metadata", "labels", "theirs", value="x")
    found = changed(found, "metadata", "annotations", "theirs.example.com/x", value="y")

    replacement = drift.overwritten(found, drift.with_hash(config_map(a="2")))

    assert replacement["data"] == {"a": "2"}
    assert replacement["metadata"]["labels"] == {"app": "x", "theirs": "x"}
    assert replacement["metadata"]["annotations"]["theirs.example.com/x"] == "y"
    assert drift.in_sync(replacement, drift.with_hash(config_map(a="2")))
    assert replacement["metadata"]["resourceVersion"] == "7", "only the version that was seen may be replaced"
    assert "managedFields" not in replacement["metadata"]
    assert found["data"] == {"a": "1", "injected": "x"}


def test_a_removed_annotation_of_somebody_elses_domain_is_seen_in_full_comparison() -> None:
    manifest = changed(config_map(), "metadata", "annotations", value={"cert-manager.io/cluster-issuer": "x"})
    desired = drift.with_hash(manifest)
    stripped = live(desired)
    del stripped["metadata"]["annotations"]["cert-manager.io/cluster-issuer"]

    assert drift.in_sync(live(desired), desired)
    assert not drift.in_sync(stripped, desired)
