"""What the billing API may do, and above all what it may not: by its role, and in content by the policies."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing_api.kube import instances
from customer_operator import naming
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from tests.support.audit import BILLING
from tests.support.kubernetes import Kubernetes, omnipotent, order
from tests.support.rights import DRY, Act, Allowed, Forbidden, assert_refused, owner, standing_rights, thing

OWN, GIVEN, OTHERS = "billing-own", "billing-given", "billing-others"
MARK, FOREIGN = "app.kubernetes.io/managed-by", "example.com/backup"
REFERENCE = {"secretRef": {"name": "mqtt-ca"}}
IMAGES = {"images": {"api": "registry.example/evil:1"}}
INVALID = "ValidatingAdmissionPolicy 'billing-api-instances' .* denied request: "


def manifest(name: str = "billing-new", *, metadata: Manifest | None = None, **spec: Any) -> Manifest:
    """Return an order as the billing API makes it, but for other metadata and further fields of spec."""
    ordered = instances.manifest(
        name=name,
        customer_id=f"cust-{name}",
        email="john@example.com",
        company_name="Acme",
        plan="trial",
        license="header00.payload0.signature",
    )
    ordered["metadata"] |= metadata or {}
    ordered["spec"] |= spec
    return ordered


@pytest.fixture(scope="module")
def access(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """The billing API's own token."""
    path = tmp_path_factory.mktemp("billing") / "kubeconfig"
    with Kubernetes(cluster.service_account_kubeconfig("billing", "billing-api", path)) as own:
        yield own


@pytest.fixture(scope="module", autouse=True)
def _found(api: Kubernetes, access: Kubernetes) -> Iterator[None]:
    """An instance that the billing API has ordered and others have marked, one handed over to it, and one of others."""
    access.apply(manifest(OWN), fieldManager=instances.FIELD_MANAGER)
    marks = {"labels": {"team": "a"}, "annotations": {"note": "a"}, "finalizers": [FOREIGN]}
    spec = {"paused": True, "mqtt": {"exposure": "NodePort"}, "images": {"api": "registry.example/api:2"}}
    api.patch(naming.KIND, OWN, {"metadata": marks, "spec": spec})
    api.create(order(OTHERS, paused=True))
    given = order(GIVEN, paused=True, license=REFERENCE)
    given["metadata"]["labels"] = {MARK: "billing-api"}
    api.create(given)
    yield
    api.edit(naming.KIND, OWN, {"op": "remove", "path": "/metadata/finalizers"})
    for name in (OWN, GIVEN, OTHERS):
        api.delete(naming.KIND, name)


def create(ordered: Manifest) -> Act:
    return lambda access: access.create(ordered, **DRY)


def change(name: str = OWN, **patch: Any) -> Act:
    return lambda access: access.patch(naming.KIND, name, patch, **DRY)


def ordered_with(**spec: Any) -> Act:
    return create(manifest(**spec))


def labels(**values: str | None) -> Manifest:
    return {"metadata": {"labels": values}}


STATUS = {**order(OWN), "status": {"phase": "Ready"}}
INLINE = "may give a license only inline, in spec.license.key"
OWN_LABELS = {MARK: "billing-api"}

FIELDS: dict[str, Any] = {
    "images": IMAGES["images"],
    "mqtt": {"exposure": "LoadBalancer"},
    "storage": {"postgres": {"size": "1Ti"}},
    "resources": {"api": {"limits": {"cpu": "32"}}},
    "deletionPolicy": "Retain",
    "deletionProtection": True,
}

ORDERS: Forbidden = {
    **{
        f"with spec.{field}": (ordered_with(**{field: value}), rf"spec\.hostname, not spec\.{field}: leave that")
        for field, value in {**FIELDS, "paused": True}.items()
    },
    "with two foreign fields": (
        ordered_with(**IMAGES, paused=True),
        r"not spec\.(images, spec\.paused|paused, spec\.im)",
    ),
    "with a license in a Secret": (ordered_with(license=REFERENCE), INLINE),
    "without its mark": (create(manifest(metadata={"labels": {}})), "must be billing-api and stay so: send it"),
    "with another's mark": (create(manifest(metadata={"labels": {MARK: "argocd"}})), "must be billing-api and stay so"),
    "with another label": (create(manifest(metadata={"labels": {**OWN_LABELS, "team": "a"}})), "metadata.labels team,"),
    "with another customer's label": (
        create(manifest(metadata={"labels": {**OWN_LABELS, naming.CUSTOMER_LABEL: "other"}})),
        r"metadata.labels\[iotistic.cloud/customer-id\] must be spec.customer.id, cust-billing-new",
    ),
    "with an annotation": (
        create(manifest(metadata={"annotations": {"argocd.argoproj.io/tracking-id": "x"}})),
        "metadata.annotations argocd.argoproj.io/tracking-id, only iotistic.cloud/retry-at",
    ),
    "with a finalizer": (create(manifest(metadata={"finalizers": [FOREIGN]})), "change metadata.finalizers"),
    "with an owner": (create(manifest(metadata={"ownerReferences": [owner("x")]})), "change metadata.ownerReferences"),
    "with a name found by the server": (
        create(manifest(metadata={"name": None, "generateName": "billing-"})),
        "change metadata.generateName",
    ),
}

CHANGES: Forbidden = {
    **{
        f"spec.{field}": (change(spec={field: value}), rf"spec\.hostname, not spec\.{field}: leave that")
        for field, value in {**FIELDS, "paused": False}.items()
        if field != "storage"  # fixed by the contract itself
    },
    "spec.images away": (change(spec={"images": None}), r"not spec\.images"),
    "what the default would be": (change(spec={"mqtt": None}), r"not spec\.mqtt"),
    "the license to a reference": (change(spec={"license": {**REFERENCE, "key": None}}), INLINE),
    "its mark away": (change(**labels(**{MARK: None})), "must be billing-api and stay so"),
    "its mark to another": (change(**labels(**{MARK: "argocd"})), "must be billing-api and stay so"),
    "a label of others": (change(**labels(team="b")), "metadata.labels team,"),
    "a label of others away": (change(**labels(team=None)), "metadata.labels team,"),
    "the customer's label": (change(**labels(**{naming.CUSTOMER_LABEL: "other"})), "must be spec.customer.id"),
    "the customer's label away": (change(**labels(**{naming.CUSTOMER_LABEL: None})), "must be spec.customer.id"),
    "an annotation of others": (change(metadata={"annotations": {"note": "b"}}), "metadata.annotations note,"),
    "an annotation of others away": (change(metadata={"annotations": {"note": None}}), "metadata.annotations note,"),
    "a finalizer of others away": (change(metadata={"finalizers": []}), "change metadata.finalizers"),
    "the owner": (change(metadata={"ownerReferences": [owner("x")]}), "change metadata.ownerReferences"),
    "generateName": (change(metadata={"generateName": "x-"}), "change metadata.generateName"),
    "somebody's images": (change(OTHERS, spec=IMAGES), f"{OTHERS} is not the billing API's to change.*kubectl label"),
    "somebody's plan": (change(OTHERS, spec={"plan": "starter"}), f"{OTHERS} is not the billing API's to change"),
    "somebody's instance to its own": (change(OTHERS, **labels(**OWN_LABELS)), "is not the billing API's to change"),
    "somebody's instance by a new order": (
        lambda access: access.apply(manifest(OTHERS, customer=order(OTHERS)["spec"]["customer"]), **DRY),
        "is not the billing API's to change",
    ),
}

ALLOWED: Allowed = {
    "order an instance": lambda access: access.apply(manifest(), **DRY),
    "order one that sleeps, with a domain": ordered_with(suspend=True, hostname="iot.acme.example"),
    "order one with the defaults spelled out": ordered_with(
        mqtt={"exposure": "SNI"}, paused=False, deletionProtection=False, deletionPolicy="Delete"
    ),
    "repeat its order": lambda access: access.apply(manifest(OWN), fieldManager=instances.FIELD_MANAGER, **DRY),
    "change the plan": change(spec={"plan": "enterprise"}),
    "renew the license": change(spec={"license": {"key": "header00.payload1.signature"}}),
    "take the license away": change(spec={"license": None}),
    "suspend": change(spec={"suspend": True}),
    "suspend what was handed over with a reference": change(GIVEN, spec={"suspend": True}),
    "give a domain": change(spec={"hostname": "iot.acme.example"}),
    "change the address": change(spec={"customer": {"email": "ada@example.com"}}),
    "ask for another try": change(metadata={"annotations": {naming.RETRY_AT_ANNOTATION: "2026-11-21T13:00:00Z"}}),
    "annotate for itself": change(metadata={"annotations": {"billing.iotistic.cloud/order": "17"}}),
}

KEYS = "license-jwks"
HOME = naming.OPERATOR_NAMESPACE
PUBLIC = '{"keys": [{"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB"}]}'
PRIVATE = '{"keys": [{"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB", "d" : "AQAB"}]}'


def keys(document: str = PUBLIC, **rest: Any) -> Act:
    """Return the act of publishing a document, and what else is put beside it."""
    manifest = thing("ConfigMap", KEYS, namespace=HOME, data={"jwks.json": document})
    manifest["metadata"] |= rest.pop("metadata", {})
    return lambda access: access.apply({**manifest, **rest}, fieldManager=instances.FIELD_MANAGER, **DRY)


KEY_SETS: Forbidden = {
    "another file beside the keys": (keys(data={"jwks.json": PUBLIC, "x": "y"}), r"only data\['jwks.json'\]"),
    "bytes beside the keys": (keys(binaryData={"x": "eQ=="}), r"only data\['jwks.json'\]"),
    "a private key": (keys(PRIVATE), "holds a private key; publish the public one"),
    "more than a mount should hold": (keys(" " * 65537), "must have at most 65536 characters"),
    "what can never be changed again": (keys(immutable=True), "may not set or change immutable"),
    **{
        f"metadata.{field}": (keys(metadata={field: value}), "may not set or change metadata")
        for field, value in {
            "labels": {"team": "a"},
            "annotations": {"note": "a"},
            "finalizers": [FOREIGN],
            "ownerReferences": [owner("x")],
        }.items()
    },
}

ELSEWHERE: Forbidden = {
    "write another ConfigMap of the operator": (
        lambda access: access.patch("ConfigMap", "kube-root-ca.crt", {"data": {"x": "y"}}, namespace=HOME, **DRY),
        "not UPDATE configmaps",
    ),
    "write a ConfigMap of that name elsewhere": (
        lambda access: access.create(thing("ConfigMap", KEYS, namespace="billing"), **DRY),
        "not CREATE configmaps",
    ),
    "delete the ConfigMap of the keys": (
        lambda access: access.delete("ConfigMap", KEYS, namespace=HOME, **DRY),
        "not DELETE configmaps",
    ),
    "write a Secret": (lambda access: access.create(thing("Secret", namespace="billing"), **DRY), "not CREATE secrets"),
    "write a namespace": (lambda access: access.create(thing("Namespace", "customer-x"), **DRY), "not CREATE namesp"),
    "write a ConfigMap of the operator": (
        lambda access: access.create(thing("ConfigMap", namespace="iotistic-system"), **DRY),
        "not CREATE configmaps",
    ),
    "delete an instance": (lambda access: access.delete(naming.KIND, OWN, **DRY), "not DELETE customerinstances"),
    "write a status": (
        lambda access: access.apply(STATUS, subresource="status", **DRY),
        "not UPDATE customerinstances.iotistic.cloud/status",
    ),
    "run a command in a pod": (
        lambda access: access.post("Pod", "x", "exec", namespace="billing"),
        "not CONNECT pods/exec",
    ),
}


@pytest.mark.parametrize(("act", "message"), ORDERS.values(), ids=ORDERS.keys())
def test_the_billing_api_may_not_order_an_instance(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, INVALID + ".*" + message)


@pytest.mark.parametrize(("act", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_the_billing_api_may_not_change(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, INVALID + ".*" + message)


@pytest.mark.parametrize("act", ALLOWED.values(), ids=ALLOWED.keys())
def test_the_billing_api_may(access: Kubernetes, act: Act) -> None:
    act(access)


@pytest.mark.parametrize(("act", "message"), KEY_SETS.values(), ids=KEY_SETS.keys())
def test_the_billing_api_may_not_publish_with_the_license_keys(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, "ValidatingAdmissionPolicy 'billing-api-jwks' .* denied request: .*" + message)


def test_the_billing_api_may_publish_the_license_keys_and_read_them(access: Kubernetes) -> None:
    keys()(access)
    keys('{"keys": []}')(access)
    assert access.get("ConfigMap", KEYS, namespace=HOME)["metadata"]["name"] == KEYS


@pytest.fixture
def removed(api: Kubernetes) -> Iterator[None]:
    """Somebody has removed the ConfigMap of the license keys."""
    api.delete("ConfigMap", KEYS, namespace=HOME)
    yield
    api.apply(thing("ConfigMap", KEYS, namespace=HOME), fieldManager="kubectl")


@pytest.mark.usefixtures("removed")
@pytest.mark.parametrize(("act", "message"), KEY_SETS.values(), ids=KEY_SETS.keys())
def test_the_billing_api_may_not_put_back_with_the_license_keys(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, "ValidatingAdmissionPolicy 'billing-api-jwks' .* denied request: .*" + message)


@pytest.mark.usefixtures("removed")
def test_the_billing_api_may_put_back_the_license_keys_by_its_apply_alone(access: Kubernetes) -> None:
    refused = 'cannot create resource "configmaps"'
    assert_refused(access, lambda access: access.create(thing("ConfigMap", KEYS, namespace=HOME), **DRY), refused)
    keys()(access)


@pytest.mark.parametrize(("act", "message"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_no_role_can_let_the_billing_api(cluster: LocalCluster, act: Act, message: str) -> None:
    with omnipotent(cluster, BILLING) as everything:
        assert_refused(everything, act, message)


def test_the_billing_api_has_rights_on_instances_and_one_config_map_and_on_nothing_else(access: Kubernetes) -> None:
    everywhere = {("customerinstances", verb) for verb in ("get", "list", "watch", "create", "patch")}
    assert standing_rights(access) == standing_rights(access, namespace="billing") == everywhere
    own = {("configmaps", verb) for verb in ("get", "create", "patch")}
    assert standing_rights(access, namespace=HOME) == everywhere | own
    refused = 'cannot {} resource "configmaps"'
    assert_refused(access, lambda access: access.items("ConfigMap", namespace=HOME), refused.format("list"))
    assert_refused(access, lambda access: access.get("ConfigMap", "other", namespace=HOME), refused.format("get"))
    assert_refused(
        access, lambda access: access.apply(thing("ConfigMap", "other", namespace=HOME), **DRY), refused.format("patch")
    )
    assert_refused(
        access,
        lambda access: access.apply(STATUS, subresource="status", **DRY),
        'cannot patch resource "customerinstances/status"',
    )
    assert_refused(access, lambda access: access.delete(naming.KIND, OWN), 'cannot delete resource "customerinst')
