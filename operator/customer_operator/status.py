"""The status of an instance, computed from what exists; pure.

Times move only on a transition, so a status computed twice from the same picture is the same status: it is written
only when it changed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from customer_operator.errors import UserError
from customer_operator.instance import CustomerInstance
from customer_operator.picture import ComponentState, LicenseReading, Picture
from customer_operator.timestamps import format_time, parse_time
from customer_operator.transitions import MESSAGE_LIMIT, Condition, Stage, merge_conditions, merge_stages

Status = Mapping[str, Any]


class Phase(StrEnum):
    """What status.phase says."""

    PENDING = "Pending"
    PROVISIONING = "Provisioning"
    READY = "Ready"
    UPDATING = "Updating"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    DELETING = "Deleting"


_CONVERGING = {Phase.PENDING, Phase.PROVISIONING, Phase.UPDATING, Phase.DEGRADED, Phase.DELETING}

# Shares of progress, per cent: the rest, up to 100, is waiting for the components to become ready.
_ACCEPTED_SHARE = 5
_APPLIED_SHARE = 35

_KEY_ID_LIMIT = 256  # characters, the schema's bound

# The condition's reason for a component that will not become ready by waiting. No try has failed: events still count.
COMPONENT_STUCK = "ComponentStuck"

# Phases that are reached only once everything has been there: a first suspension counts like a first Ready.
_AFTER_FIRST = (Phase.READY, Phase.UPDATING, Phase.DEGRADED, Phase.SUSPENDED)


def compute(*, instance: CustomerInstance, picture: Picture, previous: Status, now: datetime) -> dict[str, Any]:
    """Return the whole status of an instance that is not being deleted."""
    phase = _phase(instance, picture, previous)
    conditions = _conditions(phase, picture)
    status: dict[str, Any] = {
        "phase": phase.value,
        "progress": _progress(phase, picture),
        "message": _message(phase, picture)[:MESSAGE_LIMIT],
        "observedGeneration": instance.generation,
        "plan": picture.plan,
        "license": _license(picture.license),
        "conditions": merge_conditions(conditions, previous=previous, generation=instance.generation, now=now),
        "stages": merge_stages(_stages(picture), previous=previous, now=now),
        "attempts": picture.failure.attempts if picture.failure else 0,
        "namespace": picture.namespace,
        "urls": dict(picture.urls),
        "ports": dict(picture.ports),
        "timeToReadySeconds": _time_to_ready(instance, phase, previous, now),
        "nextAttemptAt": format_time(picture.failure.next_attempt_at if picture.failure else None),
        "lastHandledRetryAt": _handled_retry(instance, previous, now),
        "estimatedReadyAt": _estimate(instance, phase, picture, previous, now),
    }
    found = {name: value for name, value in status.items() if value not in (None, {}, [])}
    return _as_last_seen(found, previous) if picture.failure and not picture.wanted else found


def _as_last_seen(status: dict[str, Any], previous: Status) -> dict[str, Any]:
    """Return the status of a pass that failed before it could look, with what an earlier one saw of the stack."""
    kinds = {condition["type"] for condition in status["conditions"]}
    components = [item for item in previous.get("conditions", ()) if item["type"] not in kinds]
    kept = {name: previous[name] for name in ("stages", "urls", "ports") if name in previous}
    progress = min(99, previous.get("progress", 0))
    return {**status, **kept, "progress": progress, "conditions": [*status["conditions"], *components]}


def deleting(*, instance: CustomerInstance, previous: Status, steps: Iterable[Stage], now: datetime) -> dict[str, Any]:
    """Return the status during deletion; a step is its name, its state, and what it waits for."""
    steps = list(steps)
    done = sum(state == "Done" for _, state, _ in steps)
    message = next((text for _, state, text in steps if state != "Done" and text), "deleting")
    conditions = [
        ("Ready", False, "Deleting", message),
        ("Reconciling", True, "Deleting", message),
        ("Stalled", False, "Deleting", "deletion goes on"),
    ]
    keep = ("plan", "license", "namespace", "timeToReadySeconds")
    # The stages of what came before may have the same names, but are not these.
    history = previous if previous.get("phase") == Phase.DELETING else {}
    return {
        **{name: previous[name] for name in keep if name in previous},
        "phase": Phase.DELETING.value,
        "progress": 100 * done // max(1, len(steps)),
        "message": message[:MESSAGE_LIMIT],
        "observedGeneration": instance.generation,
        "attempts": 0,
        "conditions": merge_conditions(conditions, previous=previous, generation=instance.generation, now=now),
        "stages": merge_stages(steps, previous=history, now=now),
    }


def unreadable(body: Mapping[str, Any], error: UserError, *, previous: Status, now: datetime) -> dict[str, Any]:
    """Return the status of a resource whose spec cannot be understood."""
    generation, message = body["metadata"]["generation"], str(error)
    conditions = [
        ("Ready", False, error.reason, message),
        ("Reconciling", False, error.reason, message),
        ("Stalled", True, error.reason, message),
    ]
    return {
        **{name: value for name, value in previous.items() if name not in ("nextAttemptAt", "estimatedReadyAt")},
        "phase": Phase.FAILED.value,
        "message": message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "attempts": 0,
        "conditions": merge_conditions(conditions, previous=previous, generation=generation, now=now),
    }


def _phase(instance: CustomerInstance, picture: Picture, previous: Status) -> Phase:
    failure = picture.failure
    if failure and failure.next_attempt_at is None:
        return Phase.FAILED
    if picture.healthy and not failure:
        return Phase.SUSPENDED if picture.suspended else Phase.READY
    stuck = picture.stuck is not None and not failure
    if previous.get("timeToReadySeconds") is None and previous.get("phase") not in _AFTER_FIRST:
        return Phase.FAILED if stuck else (Phase.PROVISIONING if picture.wanted else Phase.PENDING)
    if stuck:
        return Phase.DEGRADED
    changed = (previous.get("observedGeneration"), previous.get("plan")) != (instance.generation, picture.plan)
    asked = changed or picture.suspended or previous.get("phase") in (Phase.UPDATING, Phase.SUSPENDED, Phase.FAILED)
    return Phase.UPDATING if asked else Phase.DEGRADED


def _progress(phase: Phase, picture: Picture) -> int:
    if phase in (Phase.READY, Phase.SUSPENDED):
        return 100
    if not picture.wanted:
        return 0
    ready = len(picture.components) - len(picture.unready)
    waiting_share = 100 - _ACCEPTED_SHARE - _APPLIED_SHARE
    done = (
        _ACCEPTED_SHARE
        + _APPLIED_SHARE * picture.applied / picture.wanted
        + waiting_share * ready / max(1, len(picture.components))
    )
    return min(99, int(done))


def _message(phase: Phase, picture: Picture) -> str:
    situation = _situation(phase, picture)
    return f"spec.paused is set, nothing is changed; {situation}" if picture.paused else situation


def _situation(phase: Phase, picture: Picture) -> str:
    if picture.failure:
        return picture.failure.message
    if picture.stuck and picture.stuck.readiness:
        return f"{picture.stuck.name} is stuck: {picture.stuck.readiness.message}"
    match phase:
        case Phase.READY:
            return "everything is ready" if picture.license.ok else picture.license.message
        case Phase.SUSPENDED:
            return picture.suspended or ""
        case Phase.PENDING:
            return "accepted; waiting for its turn"
    if not picture.founded:
        return "creating the namespace"
    if not picture.complete:
        return f"{picture.applied} of {picture.wanted} objects are applied"
    names = ", ".join(item.name for item in picture.unready)
    return f"waiting for {names}"


def _license(reading: LicenseReading) -> dict[str, Any]:
    key_id = reading.key_id[:_KEY_ID_LIMIT] if reading.key_id else None
    values = {"state": reading.state, "expiresAt": format_time(reading.expires_at), "keyId": key_id}
    return {name: value for name, value in values.items() if value is not None}


def _conditions(phase: Phase, picture: Picture) -> list[Condition]:
    """Return the conditions; the first three as kstatus reads them, of which the last two never hold together."""
    message = _message(phase, picture)
    stalled = phase is Phase.FAILED or (picture.stuck is not None and not picture.failure)
    reason = picture.failure.reason if picture.failure else (COMPONENT_STUCK if stalled else phase.value)
    return [
        ("Ready", phase is Phase.READY, reason, message),
        ("Reconciling", phase in _CONVERGING and not stalled, reason, message),
        ("Stalled", stalled, reason, message),
        ("LicenseValid", picture.license.ok, picture.license.reason, picture.license.message),
        *(_component_condition(item) for item in picture.components),
    ]


def _component_condition(item: ComponentState) -> Condition:
    if item.readiness is None:
        return item.condition, False, "NotCreated", f"{item.name} does not exist yet"
    if item.readiness.ready:
        return item.condition, True, "Ready", item.readiness.message or f"{item.name} is ready"
    return item.condition, False, "Stuck" if item.readiness.stuck else "NotReady", item.readiness.message


def _stages(picture: Picture) -> list[Stage]:
    """Return the steps in the order in which they are taken."""
    failed = picture.failure is not None and picture.failure.next_attempt_at is None
    started = picture.wanted > 0
    steps = [
        ("accept", started, "reading the resource and its licence"),
        ("namespace", picture.founded, "creating the namespace"),
        ("guardrails", picture.guarded, "waiting for the quota to be in force"),
        ("apply", picture.complete, f"{picture.applied} of {picture.wanted} objects are applied"),
    ]
    stages: list[Stage] = []
    open_before = False
    for name, done, message in steps:
        state = "Done" if done else ("Pending" if open_before else "Failed" if failed else "Active")
        open_before = open_before or not done
        stages.append((name, state, "" if state in ("Done", "Pending") else message))
    return stages + [_component_stage(item) for item in picture.components]


def _component_stage(item: ComponentState) -> Stage:
    if item.readiness is None:
        return item.name, "Pending", ""
    if item.readiness.ready:
        return item.name, "Done", ""
    return item.name, "Failed" if item.readiness.stuck else "Active", item.readiness.message


def _handled_retry(instance: CustomerInstance, previous: Status, now: datetime) -> str | None:
    """Return the time in the retry annotation once it has come, for this very pass is the answer to it."""
    asked = parse_time(instance.retry_at)
    return format_time(asked) if asked is not None and asked <= now else previous.get("lastHandledRetryAt")


def _time_to_ready(instance: CustomerInstance, phase: Phase, previous: Status, now: datetime) -> float | None:
    known = previous.get("timeToReadySeconds")
    if known is not None or phase is not Phase.READY:
        return known
    return max(0.0, round((now - instance.created_at).total_seconds(), 1))


def _estimate(
    instance: CustomerInstance, phase: Phase, picture: Picture, previous: Status, now: datetime
) -> str | None:
    """Return when a first Ready is expected: fixed once, so that it does not move with every write."""
    if phase not in (Phase.PENDING, Phase.PROVISIONING) or not picture.usual_seconds:
        return None
    known = parse_time(previous.get("estimatedReadyAt"))
    if known is not None and known > now:
        return format_time(known)
    expected = instance.created_at + timedelta(seconds=picture.usual_seconds)
    return format_time(expected) if expected > now else None
