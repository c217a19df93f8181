"""Data that shall be kept is never lost by a label, a flag or a way of deleting: nothing collects it as garbage."""

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.kubernetes import Condition, Kubernetes, is_gone, is_there
from tests.support.operators import Operators
from tests.support.tenants import Tenants

# How clients delete: Argo CD in the foreground, kubectl in the background, `kubectl delete --cascade=orphan`.
PROPAGATION = ("Foreground", "Background", "Orphan")
LABELS_LOST = {"metadata": {"labels": {naming.INSTANCE_LABEL: None, naming.CUSTOMER_LABEL: None}}}


def owned_by(resource: Manifest) -> Condition:
    """Return the condition that a namespace has this one owner."""
    return lambda live: live is not None and owners(live) == [resource["metadata"]["uid"]]


def owners(live: Manifest) -> list[str]:
    return [owner["uid"] for owner in live["metadata"].get("ownerReferences") or ()]


def is_unowned(live: Manifest | None) -> bool:
    return live is not None and owners(live) == []


@pytest.fixture(scope="module")
def kept(operators: Operators, tenants: Tenants) -> dict[str, str]:
    """Instances whose data shall be kept, one for each way of losing it."""
    operators.usual()
    titles = (*PROPAGATION, "paused", "down")
    names = {title: tenants.order(deletionPolicy="Retain") for title in titles}
    names["switched"] = tenants.order()
    names["switched while paused"] = tenants.order()
    return {title: tenants.ready(name) for title, name in names.items()}


def claims(api: Kubernetes, name: str) -> dict[str, str]:
    """Return the uids of an instance's volume claims: its data."""
    items = api.items("PersistentVolumeClaim", namespace=naming.namespace_of(name))
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items}


def assert_kept(api: Kubernetes, name: str, before: dict[str, str]) -> None:
    namespace = api.get("Namespace", naming.namespace_of(name))
    assert owners(namespace) == []
    assert "deletionTimestamp" not in namespace["metadata"]
    assert claims(api, name) == before != {}


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("propagation", PROPAGATION)
def test_however_it_is_deleted_the_data_stays(api: Kubernetes, kept: dict[str, str], propagation: str) -> None:
    name = kept[propagation]
    before = claims(api, name)
    assert is_unowned(api.get("Namespace", naming.namespace_of(name)))
    api.delete(naming.KIND, name, propagationPolicy=propagation)
    api.wait_for(naming.KIND, name, is_gone)
    assert_kept(api, name, before)


@pytest.mark.usefixtures("operator")
def test_labels_lost_while_paused_do_not_cost_the_data(api: Kubernetes, tenants: Tenants, kept: dict[str, str]) -> None:
    name = kept["paused"]
    before = claims(api, name)
    tenants.change(name, paused=True)
    api.patch("Namespace", naming.namespace_of(name), LABELS_LOST)
    api.delete(naming.KIND, name, propagationPolicy="Foreground")
    api.wait_for(naming.KIND, name, is_gone)
    assert_kept(api, name, before)


def test_labels_lost_while_no_operator_runs_do_not_cost_the_data(
    api: Kubernetes, operators: Operators, kept: dict[str, str]
) -> None:
    name = kept["down"]
    before = claims(api, name)
    operators.stop()
    api.patch("Namespace", naming.namespace_of(name), LABELS_LOST)
    api.delete(naming.KIND, name, propagationPolicy="Foreground")
    operators.usual()
    api.wait_for(naming.KIND, name, is_gone)
    assert_kept(api, name, before)


@pytest.mark.usefixtures("operator")
def test_a_change_of_policy_moves_the_owner(api: Kubernetes, tenants: Tenants, kept: dict[str, str]) -> None:
    name = kept["switched"]
    namespace = naming.namespace_of(name)
    api.wait_for("Namespace", namespace, owned_by(tenants.get(name)))
    tenants.change(name, deletionPolicy="Retain")
    api.wait_for("Namespace", namespace, is_unowned)
    tenants.change(name, deletionPolicy="Delete")
    api.wait_for("Namespace", namespace, owned_by(tenants.get(name)))
    tenants.change(name, deletionPolicy="Retain")
    api.wait_for("Namespace", namespace, is_unowned)


@pytest.mark.usefixtures("operator")
def test_data_of_a_paused_instance_is_taken_from_its_owner_when_it_shall_be_kept(
    api: Kubernetes, tenants: Tenants, kept: dict[str, str]
) -> None:
    name = kept["switched while paused"]
    before = claims(api, name)
    tenants.change(name, paused=True)
    tenants.change(name, deletionPolicy="Retain")
    api.wait_for("Namespace", naming.namespace_of(name), is_unowned)
    api.delete(naming.KIND, name, propagationPolicy="Foreground")
    api.wait_for(naming.KIND, name, is_gone)
    assert_kept(api, name, before)


@pytest.mark.usefixtures("operator")
def test_an_owner_that_somebody_gives_kept_data_is_taken_away(
    api: Kubernetes, tenants: Tenants, kept: dict[str, str]
) -> None:
    name = kept["switched"]
    tenants.change(name, deletionPolicy="Retain")
    namespace = naming.namespace_of(name)
    api.wait_for("Namespace", namespace, is_unowned)
    owner = naming.owner_reference(name, tenants.get(name)["metadata"]["uid"])
    api.patch("Namespace", namespace, {"metadata": {"ownerReferences": [owner]}})
    api.wait_for("Namespace", namespace, is_unowned)


@pytest.mark.usefixtures("operator")
def test_an_enterprise_instance_with_volumes_of_its_own_for_monitoring_can_be_downgraded(
    tenants: Tenants, api: Kubernetes
) -> None:
    name = tenants.order(plan="enterprise", storage={"prometheus": {"size": "20Gi"}})
    api.wait_for(naming.KIND, name, is_there)
    live = tenants.change(name, plan="starter")
    assert live["spec"]["plan"] == "starter"
    assert live["spec"]["storage"] == {"prometheus": {"size": "20Gi"}}
