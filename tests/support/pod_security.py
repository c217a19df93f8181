"""The Pod Security Standard "restricted", as a pure check (https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""

from collections.abc import Iterator
from typing import Any

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_PROFILES = {"RuntimeDefault", "Localhost"}


def violations(spec: dict[str, Any]) -> list[str]:
    """Return what "restricted" would refuse in a pod's spec, one sentence each."""
    return [*_of_pod(spec), *(text for item in containers(spec) for text in _of_container(item, spec))]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers and init containers of a pod's spec."""
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{key} is set"
    for volume in spec.get("volumes", ()):
        if not set(volume) - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']} has a forbidden type"
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls are set"


def _of_container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    name, own = container["name"], container.get("securityContext", {})
    effective = {**spec.get("securityContext", {}), **own}
    if own.get("privileged"):
        yield f"{name} is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate its privileges"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{name} does not drop ALL capabilities"
    if set(own.get("capabilities", {}).get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        yield f"{name} may run as root"
    if effective.get("seccompProfile", {}).get("type") not in _PROFILES:
        yield f"{name} has no seccomp profile"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield f"{name} takes a host port"
