"""Every pod is one that Pod Security "restricted" admits, and one the house rules accept."""

from typing import Any

import pytest

from customer_operator.components import namespace, stack
from customer_operator.components.context import Context
from tests.support.generate import make_context, make_instance, make_platform
from tests.support.pod_security import containers, violations

CONTEXTS: dict[str, Context] = {
    "starter": make_context(),
    "enterprise": make_context(make_instance(plan="enterprise")),
    "local": make_context(platform=make_platform(base_domain="localhost")),
    "suspended": make_context(scaled_down=True),
}
PODS = {
    f"{context_name}-{manifest['metadata']['name']}": manifest["spec"]["template"]["spec"]
    for context_name, context in CONTEXTS.items()
    for manifest in stack.objects(context)
    if "template" in manifest.get("spec", {})
}


@pytest.mark.parametrize("name", PODS)
def test_pod_security_restricted_admits_the_pod(name: str) -> None:
    assert violations(PODS[name]) == []


@pytest.mark.parametrize("name", PODS)
def test_the_pod_has_no_token_and_no_variables_of_services(name: str) -> None:
    pod = PODS[name]

    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] != "default"
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PODS)
def test_every_container_has_limits_and_cannot_write_to_its_image(name: str) -> None:
    for container in containers(PODS[name]):
        resources = container["resources"]
        assert all(resources[section][kind] for section in ("requests", "limits") for kind in ("cpu", "memory"))
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("name", PODS)
def test_every_container_is_probed_at_start_for_readiness_and_for_life(name: str) -> None:
    for container in PODS[name]["containers"]:
        ports = {port["name"] for port in container["ports"]}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[kind]
            asked = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
            assert asked is None or asked in ports


@pytest.mark.parametrize("name", PODS)
def test_every_mount_has_its_volume(name: str) -> None:
    pod = PODS[name]
    mounted = {mount["name"] for item in containers(pod) for mount in item.get("volumeMounts", ())}

    assert mounted <= {volume["name"] for volume in pod.get("volumes", ())} | {"data"}


def test_the_namespace_enforces_restricted() -> None:
    context = make_context()
    labels = namespace.build(context.instance, context.platform)[0]["metadata"]["labels"]

    modes = {mode: labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")}

    assert modes == dict.fromkeys(("enforce", "audit", "warn"), "restricted")


GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def _changed(**container: Any) -> dict[str, Any]:
    security = {**GOOD["containers"][0]["securityContext"], **container.pop("securityContext", {})}
    return {**GOOD, "containers": [{"name": "c", "securityContext": security, **container}]}


@pytest.mark.parametrize(
    ("pod", "violation"),
    [
        ({**GOOD, "hostNetwork": True}, "hostNetwork"),
        ({**GOOD, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "forbidden type"),
        ({**GOOD, "securityContext": {"runAsNonRoot": True}}, "seccomp"),
        (_changed(securityContext={"privileged": True}), "privileged"),
        (_changed(securityContext={"allowPrivilegeEscalation": True}), "escalate"),
        (_changed(securityContext={"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}), "adds capabilities"),
        (_changed(securityContext={"capabilities": {}}), "drop ALL"),
        (_changed(securityContext={"runAsUser": 0}), "root"),
        (_changed(ports=[{"containerPort": 1, "hostPort": 1}]), "host port"),
        ({**_changed(), "initContainers": [{"name": "i"}]}, "i may escalate"),
    ],
)
def test_the_check_itself_finds_what_restricted_forbids(pod: dict[str, Any], violation: str) -> None:
    assert violations(GOOD) == []
    assert any(violation in text for text in violations(pod))
