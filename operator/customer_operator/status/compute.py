"""The status of an instance, computed from what exists; pure.

Times move only on a transition, so a status computed twice from the same observed state is the same status: it is
written only when it changed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from customer_operator.errors import UserError
from customer_operator.licensing.entitlement import LicenseStatus
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.timestamps import format_time, parse_time
from customer_operator.observed.state import ComponentState, ObservedState
from customer_operator.status.conditions import MESSAGE_LIMIT, Condition, Stage, merge_conditions, merge_stages
from customer_operator.status.record import Phase, StatusRecord

Status = Mapping[str, Any]

_CONVERGING = {Phase.PENDING, Phase.PROVISIONING, Phase.UPDATING, Phase.DEGRADED, Phase.DELETING}

# Shares of progress, per cent: the rest, up to 100, is waiting for the components to become ready.
_ACCEPTED_SHARE = 5
_APPLIED_SHARE = 35

_ADDRESSES = ("urls", "ports")
_ACCEPT = "accept"  # the first stage
_KEY_ID_LIMIT = 256  # characters, the schema's bound

# The condition's reason for a component that will not become ready by waiting. No try has failed: events still count.
COMPONENT_STUCK = "ComponentStuck"


def compute(
    *, instance: CustomerInstance, observed: ObservedState, previous: StatusRecord, now: datetime
) -> dict[str, Any]:
    """Return the whole status of an instance that is not being deleted."""
    phase = _phase(instance, observed, previous)
    conditions = _conditions(phase, observed)
    status: dict[str, Any] = {
        "phase": phase.value,
        "progress": _progress(phase, observed),
        "message": _message(phase, observed)[:MESSAGE_LIMIT],
        "observedGeneration": instance.generation,
        "plan": observed.plan,
        "license": _license(observed.license),
        "conditions": merge_conditions(conditions, previous=previous, generation=instance.generation, now=now),
        "stages": merge_stages(_stages(observed), previous=previous, now=now),
        "attempts": observed.failure.attempts if observed.failure else 0,
        "namespace": observed.namespace,
        "urls": dict(observed.urls),
        "ports": dict(observed.ports),
        "timeToReadySeconds": _time_to_ready(instance, phase, previous, now),
        "nextAttemptAt": format_time(observed.failure.next_attempt_at if observed.failure else None),
        "lastHandledRetryAt": _handled_retry(instance, previous, now),
        "estimatedReadyAt": _estimate(instance, phase, observed, previous, now),
    }
    found = {name: value for name, value in status.items() if value not in (None, {}, [])}
    return _as_last_seen(found, previous) if observed.failure and not observed.desired_count else found


def _as_last_seen(status: dict[str, Any], previous: StatusRecord) -> dict[str, Any]:
    """Return the status of a pass that failed before it could look, with what an earlier one saw of the stack.

    Without an earlier one there are no addresses yet: a hostname that was refused is none.
    """
    kinds = {condition["type"] for condition in status["conditions"]}
    written = previous.written
    components = [item for item in written.get("conditions", ()) if item["type"] not in kinds]
    names = ("stages", *_ADDRESSES) if _has_looked(previous) else _ADDRESSES
    kept = {name: written[name] for name in names if name in written}
    status = {name: value for name, value in status.items() if name not in _ADDRESSES}
    progress = min(99, previous.progress)
    return {**status, **kept, "progress": progress, "conditions": [*status["conditions"], *components]}


def _has_looked(previous: StatusRecord) -> bool:
    """Tell whether the stages are those of a stack, and not only of what was reported before the work began."""
    accepted = previous.stages.get(_ACCEPT)
    return accepted is not None and accepted.state == "Done"


def deleting(*, generation: int, previous: StatusRecord, stages: Sequence[Stage], now: datetime) -> dict[str, Any]:
    """Return the status during deletion; a stage is its name, its state, and what it waits for."""
    done = sum(state == "Done" for _, state, _ in stages)
    message = next((text for _, state, text in stages if state != "Done" and text), "deleting")
    conditions = [
        ("Ready", False, "Deleting", message),
        ("Reconciling", True, "Deleting", message),
        ("Stalled", False, "Deleting", "deletion goes on"),
    ]
    keep = ("plan", "license", "namespace", "timeToReadySeconds")
    # The stages of what came before may have the same names, but are not these.
    history = previous if previous.phase is Phase.DELETING else StatusRecord()
    return {
        **{name: previous.written[name] for name in keep if name in previous.written},
        "phase": Phase.DELETING.value,
        "progress": 100 * done // max(1, len(stages)),
        "message": message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "attempts": 0,
        "conditions": merge_conditions(conditions, previous=previous, generation=generation, now=now),
        "stages": merge_stages(stages, previous=history, now=now),
    }


def unreadable(body: Mapping[str, Any], error: UserError, *, previous: StatusRecord, now: datetime) -> dict[str, Any]:
    """Return the status of a resource whose spec cannot be understood."""
    generation, message = body["metadata"]["generation"], str(error)
    conditions = [
        ("Ready", False, error.reason, message),
        ("Reconciling", False, error.reason, message),
        ("Stalled", True, error.reason, message),
    ]
    return {
        **{
            name: value for name, value in previous.written.items() if name not in ("nextAttemptAt", "estimatedReadyAt")
        },
        "phase": Phase.FAILED.value,
        "message": message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "attempts": 0,
        "conditions": merge_conditions(conditions, previous=previous, generation=generation, now=now),
    }


def _phase(instance: CustomerInstance, observed: ObservedState, previous: StatusRecord) -> Phase:
    failure = observed.failure
    if failure and failure.next_attempt_at is None:
        return Phase.FAILED
    if observed.healthy and not failure:
        return Phase.SUSPENDED if observed.suspended else Phase.READY
    stuck = observed.stuck is not None and not failure
    if not previous.reached_first:
        return Phase.FAILED if stuck else (Phase.PROVISIONING if observed.desired_count else Phase.PENDING)
    if stuck:
        return Phase.DEGRADED
    changed = (previous.observed_generation, previous.plan) != (instance.generation, observed.plan)
    asked = changed or observed.suspended or previous.phase in (Phase.UPDATING, Phase.SUSPENDED, Phase.FAILED)
    return Phase.UPDATING if asked else Phase.DEGRADED


def _progress(phase: Phase, observed: ObservedState) -> int:
    if phase in (Phase.READY, Phase.SUSPENDED):
        return 100
    if not observed.desired_count:
        return 0
    ready = len(observed.components) - len(observed.unready)
    waiting_share = 100 - _ACCEPTED_SHARE - _APPLIED_SHARE
    done = (
        _ACCEPTED_SHARE
        + _APPLIED_SHARE * observed.applied_count / observed.desired_count
        + waiting_share * ready / max(1, len(observed.components))
    )
    return min(99, int(done))


def _message(phase: Phase, observed: ObservedState) -> str:
    situation = _situation(phase, observed)
    if not observed.paused:
        return situation
    if phase is Phase.PENDING:
        return "spec.paused is set, nothing is built before it is cleared"
    return f"spec.paused is set, nothing is changed; {situation}"


def _situation(phase: Phase, observed: ObservedState) -> str:
    if observed.failure:
        return observed.failure.message
    if observed.stuck and observed.stuck.readiness:
        return f"{observed.stuck.name} is stuck: {observed.stuck.readiness.message}"
    match phase:
        case Phase.READY:
            return "everything is ready" if observed.license.ok else observed.license.message
        case Phase.SUSPENDED:
            return observed.suspended or ""
        case Phase.PENDING:
            return "accepted; waiting for its turn"
    if not observed.namespace_ready:
        return "creating the namespace"
    if not observed.complete:
        return f"{observed.applied_count} of {observed.desired_count} objects are applied"
    names = ", ".join(item.name for item in observed.unready)
    return f"waiting for {names}"


def _license(status: LicenseStatus) -> dict[str, Any]:
    key_id = status.key_id[:_KEY_ID_LIMIT] if status.key_id else None
    values = {"state": status.state, "expiresAt": format_time(status.expires_at), "keyId": key_id}
    return {name: value for name, value in values.items() if value is not None}


def _conditions(phase: Phase, observed: ObservedState) -> list[Condition]:
    """Return the conditions; the first three as kstatus reads them, of which the last two never hold together."""
    message = _message(phase, observed)
    stalled = phase is Phase.FAILED or (observed.stuck is not None and not observed.failure)
    reason = observed.failure.reason if observed.failure else (COMPONENT_STUCK if stalled else phase.value)
    return [
        ("Ready", phase is Phase.READY, reason, message),
        ("Reconciling", phase in _CONVERGING and not stalled, reason, message),
        ("Stalled", stalled, reason, message),
        ("LicenseValid", observed.license.ok, observed.license.reason, observed.license.message),
        *(_component_condition(item) for item in observed.components),
    ]


def _component_condition(item: ComponentState) -> Condition:
    if item.readiness is None:
        return item.condition, False, "NotCreated", f"{item.name} does not exist yet"
    if item.readiness.unknown:
        return item.condition, None, item.readiness.reason or "Unknown", item.readiness.message
    if item.readiness.ready:
        reason = item.readiness.reason or "Ready"
        return item.condition, True, reason, item.readiness.message or f"{item.name} is ready"
    reason = "Stuck" if item.readiness.stuck else item.readiness.reason or "NotReady"
    return item.condition, False, reason, item.readiness.message


def _stages(observed: ObservedState) -> list[Stage]:
    """Return the steps in the order in which they are taken."""
    failed = observed.failure is not None and observed.failure.next_attempt_at is None
    started = observed.desired_count > 0
    steps = [
        (_ACCEPT, started, "reading the resource and its license"),
        ("namespace", observed.namespace_ready, "creating the namespace"),
        ("guardrails", observed.quota_enforced, "waiting for the quota to be in force"),
        ("apply", observed.complete, f"{observed.applied_count} of {observed.desired_count} objects are applied"),
    ]
    stages: list[Stage] = []
    open_before = False
    for name, done, message in steps:
        state = "Done" if done else ("Pending" if open_before else "Failed" if failed else "Active")
        open_before = open_before or not done
        stages.append((name, state, "" if state in ("Done", "Pending") else message))
    return stages + [_component_stage(item) for item in observed.components]


def _component_stage(item: ComponentState) -> Stage:
    if item.readiness is None:
        return item.name, "Pending", ""
    if item.readiness.ready:
        return item.name, "Done", ""
    return item.name, "Failed" if item.readiness.stuck else "Active", item.readiness.message


def _handled_retry(instance: CustomerInstance, previous: StatusRecord, now: datetime) -> str | None:
    """Return the time in the retry annotation once it has come, for this very pass is the answer to it."""
    asked = parse_time(instance.retry_at)
    return format_time(asked if asked is not None and asked <= now else previous.last_handled_retry_at)


def _time_to_ready(instance: CustomerInstance, phase: Phase, previous: StatusRecord, now: datetime) -> float | None:
    known = previous.time_to_ready_seconds
    if known is not None or phase is not Phase.READY:
        return known
    return max(0.0, round((now - instance.created_at).total_seconds(), 1))


def _estimate(
    instance: CustomerInstance, phase: Phase, observed: ObservedState, previous: StatusRecord, now: datetime
) -> str | None:
    """Return when a first Ready is expected: fixed once, so that it does not move with every write."""
    if phase not in (Phase.PENDING, Phase.PROVISIONING) or not observed.typical_seconds:
        return None
    known = previous.estimated_ready_at
    if known is not None and known > now:
        return format_time(known)
    expected = instance.created_at + timedelta(seconds=observed.typical_seconds)
    return format_time(expected) if expected > now else None
