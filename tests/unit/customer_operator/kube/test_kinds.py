"""The table of kinds: where each has its path, and in which wave its objects are applied."""

import pytest

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.kube.kinds import api_version, path_of
from tests.support.generate import make_context, make_instance, make_platform


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "path"),
    [
        ("Namespace", None, "customer-acme", "/api/v1/namespaces/customer-acme"),
        ("Secret", "customer-acme", "credentials", "/api/v1/namespaces/customer-acme/secrets/credentials"),
        ("Deployment", "customer-acme", None, "/apis/apps/v1/namespaces/customer-acme/deployments"),
        ("Deployment", None, None, "/apis/apps/v1/deployments"),
        (naming.KIND, None, "acme", "/apis/iotistic.cloud/v1alpha1/customerinstances/acme"),
        (
            "RoleBinding",
            "customer-acme",
            "x",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/customer-acme/rolebindings/x",
        ),
    ],
)
def test_every_object_has_its_path(kind: str, namespace: str | None, name: str | None, path: str) -> None:
    assert path_of(kind, namespace=namespace, name=name) == path


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "complaint"),
    [
        ("Secret", None, "credentials", "Secret needs a namespace"),
        ("Secret", "", "credentials", "Secret needs a namespace"),
        ("Namespace", "default", None, "Namespace has no namespace"),
        ("Namespace", "default", "x", "Namespace has no namespace"),
    ],
)
def test_a_path_in_the_wrong_scope_is_a_mistake_of_ours(
    kind: str, namespace: str | None, name: str | None, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        path_of(kind, namespace=namespace, name=name)


def test_every_object_of_the_stack_has_a_path_of_its_own_kind() -> None:
    context = make_context()
    manifests = [*stack.foundation(make_instance(), make_platform()), *stack.objects(context)]

    for manifest in manifests:
        metadata = manifest["metadata"]
        path = path_of(manifest["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
        assert api_version(manifest["kind"]) == manifest["apiVersion"]
        assert path.endswith(f"/{metadata['name']}")
