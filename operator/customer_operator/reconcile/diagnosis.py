"""Looks at the pods of components that do not become ready, on demand: pods are not watched.

Reading every pod of the cluster is a right the operator does not have, so it looks inside the one namespace, at
intervals that grow with the wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from customer_operator import naming
from customer_operator.errors import ClusterError, ClusterUnreachable
from customer_operator.kube.client import KubeClient
from customer_operator.model.timestamps import parse_time
from customer_operator.observed.pods import problem_of
from customer_operator.observed.readiness import Readiness
from customer_operator.observed.state import ComponentState
from customer_operator.status.record import StatusRecord

# A rollout that takes longer is stuck. The same for StatefulSets as for Deployments, whose own deadline this is
# (spec.progressDeadlineSeconds, by default 600): only Deployments tell by themselves.
DEADLINE = timedelta(seconds=600)
# An ordinary start shows nothing worth a look for so long; each further wait is as long as all before together.
FIRST_LOOK = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The components with what their pods say, and the seconds until the next look (None: all are ready)."""

    components: tuple[ComponentState, ...]
    requeue_after: float | None = None


async def diagnose(
    client: KubeClient, name: str, components: Sequence[ComponentState], *, previous: StatusRecord, now: datetime
) -> Diagnosis:
    """Return the components, those that are not ready with pod and reason, those past their deadline as stuck."""
    waits = {item.name: _waited(item, previous, now) for item in components if _is_waiting(item)}
    if not waits:
        return Diagnosis(tuple(components))
    problems = await _problems(client, name, [item for item, wait in waits.items() if wait >= FIRST_LOOK])
    shown = tuple(
        _with_problem(item, problems.get(item.name), waits[item.name]) if item.name in waits else item
        for item in components
    )
    return Diagnosis(shown, requeue_after=min(map(_next_look, waits.values())).total_seconds())


def _next_look(waited: timedelta) -> timedelta:
    """Return in what time to look again: after as long as the wait has been, and when the deadline comes."""
    ahead = max(FIRST_LOOK, waited)
    return min(ahead, DEADLINE - waited) if waited < DEADLINE else ahead


def _is_waiting(item: ComponentState) -> bool:
    return item.has_pods and item.readiness is not None and not item.readiness.ready


def _waited(item: ComponentState, previous: StatusRecord, now: datetime) -> timedelta:
    """Return for how long a component has not been ready, by the stage that the last status shows."""
    stage = previous.stages.get(item.name)
    since = parse_time(stage.started_at) if stage and stage.state in ("Active", "Failed") else None
    return now - since if since else timedelta(0)


async def _problems(client: KubeClient, name: str, components: Sequence[str]) -> Mapping[str, str | None]:
    if not components:
        return {}
    try:
        pods = await client.list("Pod", namespace=naming.namespace_of(name), selector={naming.INSTANCE_LABEL: name})
    except ClusterUnreachable:
        raise
    except ClusterError:
        return {}  # the workload's own words have to do
    by_component: dict[str, list[naming.Manifest]] = {}
    for pod in pods:
        by_component.setdefault(naming.component_of(pod), []).append(pod)
    return {component: problem_of(by_component.get(component, ())) for component in components}


def _with_problem(item: ComponentState, problem: str | None, waited: timedelta) -> ComponentState:
    known = item.readiness or Readiness(ready=False)
    stuck = known.stuck or waited >= DEADLINE
    late = f"not ready for {int(DEADLINE.total_seconds() // 60)} minutes; " if stuck and not known.stuck else ""
    message = f"{late}{problem or known.message}"
    return replace(item, readiness=replace(known, stuck=stuck, message=message))
