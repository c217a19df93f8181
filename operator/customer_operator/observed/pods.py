"""Why a pod does not become ready, read from its status: placement, images, configuration, crashes.

Reasons: k8s.io/kubernetes/pkg/kubelet/{images/types.go,kuberuntime,container} and the PodScheduled condition.
"""

from collections.abc import Iterable, Mapping
from typing import Any

# The kubelet's words for waits that are part of an ordinary start.
_ORDINARY = frozenset({"ContainerCreating", "PodInitializing", ""})


def problem_of(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the first problem among a component's pods, naming pod and reason; None when none shows."""
    for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"])):
        if (problem := _problem(pod)) is not None:
            return f"pod {pod['metadata']['name']}: {problem}"
    return None


def _problem(pod: Mapping[str, Any]) -> str | None:
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return _sentence(status.get("reason", "Failed"), status.get("message"))
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _sentence(condition.get("reason", "Unschedulable"), condition.get("message"))
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return next((problem for item in containers if (problem := _container(item)) is not None), None)


def _container(item: Mapping[str, Any]) -> str | None:
    state = item.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (item.get("lastState") or {}).get("terminated") or {}
    if (reason := waiting.get("reason", "")) not in _ORDINARY:
        crash = f"; last exit: {_exit(last)}" if last else ""
        return _sentence(f"container {item['name']}: {reason}", waiting.get("message")) + crash
    if ended and ended.get("exitCode", 0):
        return f"container {item['name']} ended: {_exit(ended)}"
    return None


def _exit(terminated: Mapping[str, Any]) -> str:
    return _sentence(
        f"code {terminated.get('exitCode')} ({terminated.get('reason', 'Error')})", terminated.get("message")
    )


def _sentence(what: str, why: str | None) -> str:
    """Return both in one line: a container writes its own last message, and may put anything into it."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in why or "").split())
    return f"{what}: {plain}" if plain else what
