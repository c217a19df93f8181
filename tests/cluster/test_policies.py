"""The roles and policies as they are written: no wildcard, no warning, nothing that two of them tell differently."""

import json
import re
import time
from typing import Any

import yaml

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.kube.kinds import WORKLOADS
from hack.cluster import LocalCluster
from hack.paths import PROJECT_ROOT
from tests.support.generate import make_context
from tests.support.kubernetes import PATIENCE

BASE = PROJECT_ROOT / "manifests" / "base"


def documents(*kinds: str) -> dict[str, dict[str, Any]]:
    """Return the manifests of these kinds by their names."""
    found = [document for path in BASE.glob("*.yaml") for document in yaml.safe_load_all(path.read_text())]
    return {document["metadata"]["name"]: document for document in found if document["kind"] in kinds}


def test_no_role_has_a_wildcard() -> None:
    roles = documents("Role", "ClusterRole")
    routes = {"customer-operator-routes", "mqtt-router"}
    assert roles.keys() == {"billing-api", "customer-operator", naming.TENANT_ROLE, *routes}
    listed = [values for role in roles.values() for rule in role["rules"] for values in rule.values()]
    assert not [values for values in listed if "*" in values]


def test_every_policy_is_in_force() -> None:
    policies, bindings = documents("ValidatingAdmissionPolicy"), documents("ValidatingAdmissionPolicyBinding")
    assert {binding["spec"]["policyName"] for binding in bindings.values()} == policies.keys()
    assert [binding["spec"]["validationActions"] for binding in bindings.values()] == [["Deny"]] * len(bindings)
    assert {policy["spec"]["failurePolicy"] for policy in policies.values()} == {"Fail"}


def test_the_api_server_finds_no_fault_with_the_expressions_of_any_policy(cluster: LocalCluster) -> None:
    # It looks into no variable and at no policy for all versions or kinds: those are for the rows of the rights.
    deadline = time.monotonic() + PATIENCE
    while None in (warnings := _warnings(cluster)).values():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for the policies to be checked"
        time.sleep(0.1)
    assert warnings == {name: {} for name in documents("ValidatingAdmissionPolicy")}


def test_the_policy_names_the_same_resources_as_the_role_of_the_operator_in_a_namespace() -> None:
    rules = documents("ClusterRole")[naming.TENANT_ROLE]["rules"]
    written = {
        resource + (f".{group}" if group else "")
        for rule in rules
        if set(rule["verbs"]) - {"get", "list"}
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    variables = documents("ValidatingAdmissionPolicy")["customer-operator-scope"]["spec"]["variables"]
    [listed] = [variable["expression"] for variable in variables if variable["name"] == "tenantResources"]
    assert set(re.findall(r"'([a-z0-9.-]+)'", listed)) == written | {"rolebindings.rbac.authorization.k8s.io"}


def test_the_policy_names_the_same_workloads_as_the_operator_builds() -> None:
    built = {item["metadata"]["name"] for item in stack.objects(make_context()) if item["kind"] in WORKLOADS}
    variables = documents("ValidatingAdmissionPolicy")["customer-operator-workloads"]["spec"]["variables"]
    [listed] = [variable["expression"] for variable in variables if variable["name"] == "components"]
    assert set(re.findall(r"'([a-z-]+)'", listed)) == built


def _warnings(cluster: LocalCluster) -> dict[str, Any]:
    """Return what type checking has found, by policy; None where it has not looked yet."""
    policies = json.loads(cluster.kubectl("get", "validatingadmissionpolicies", "--output", "json"))["items"]
    return {policy["metadata"]["name"]: policy.get("status", {}).get("typeChecking") for policy in policies}
