"""The status of an instance, computed from what exists; pure.

Times move only on a transition, so a status computed twice from the same picture is the same status: it is written
only when it changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from customer_operator.errors import UserError
from customer_operator.instance import CustomerInstance
from customer_operator.readiness import Readiness
from customer_operator.timestamps import format_time, parse_time

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

_MESSAGE_LIMIT = 1024  # the schema's bound


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentState:
    """A component that can fail on its own: its name, its condition type, and how far it is (None: not there yet)."""

    name: str
    condition: str
    readiness: Readiness | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the last pass failed: a CamelCase reason, a sentence, and when it is tried again (None: not by itself)."""

    reason: str
    message: str
    attempts: int = 0
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseReading:
    """The licence as the operator reads it: status.license, and the condition LicenseValid."""

    state: str = "None"
    expires_at: datetime | None = None
    key_id: str | None = None
    ok: bool = True
    reason: str = "NoLicense"
    message: str = "no licence is given; spec.plan is in force"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What exists of an instance."""

    plan: str
    license: LicenseReading = LicenseReading()
    namespace: str = ""
    founded: bool = False
    applied: int = 0
    wanted: int = 0
    guarded: bool = False
    components: tuple[ComponentState, ...] = ()
    suspended: str | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None
    usual_seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Everything desired has been applied."""
        return self.founded and 0 < self.wanted == self.applied

    @property
    def unready(self) -> list[ComponentState]:
        """The components that are not ready."""
        return [item for item in self.components if item.readiness is None or not item.readiness.ready]

    @property
    def stuck(self) -> ComponentState | None:
        """The first component that will not become ready by waiting."""
        return next((item for item in self.unready if item.readiness and item.readiness.stuck), None)

    @property
    def healthy(self) -> bool:
        """Everything is there and ready."""
        return self.complete and not self.unready


def compute(*, instance: CustomerInstance, picture: Picture, previous: Status, now: datetime) -> dict[str, Any]:
    """Return the whole status of an instance that is not being deleted."""
    phase = _phase(instance, picture, previous)
    seconds = _time_to_ready(instance, phase, previous, now)
    status: dict[str, Any] = {
        "phase": phase.value,
        "progress": _progress(phase, picture),
        "message": _message(phase, picture)[:_MESSAGE_LIMIT],
        "observedGeneration": instance.generation,
        "plan": picture.plan,
        "license": _license(picture.license),
        "conditions": _merge_conditions(_conditions(phase, picture), previous, instance.generation, now),
        "stages": _merge_stages(_stages(picture), previous, now),
        "attempts": picture.failure.attempts if picture.failure else 0,
        "namespace": picture.namespace,
        "urls": dict(picture.urls),
        "ports": dict(picture.ports),
        "timeToReadySeconds": seconds,
        "nextAttemptAt": format_time(picture.failure.next_attempt_at if picture.failure else None),
        "estimatedReadyAt": _estimate(instance, phase, picture, previous, now),
    }
    return {name: value for name, value in status.items() if value not in (None, {}, [])}


def deleting(
    *, instance: CustomerInstance, previous: Status, steps: Iterable[tuple[str, str, str]], now: datetime
) -> dict[str, Any]:
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
    return {
        **{name: previous[name] for name in keep if name in previous},
        "phase": Phase.DELETING.value,
        "progress": 100 * done // max(1, len(steps)),
        "message": message[:_MESSAGE_LIMIT],
        "observedGeneration": instance.generation,
        "attempts": 0,
        "conditions": _merge_conditions(conditions, previous, instance.generation, now),
        "stages": _merge_stages(steps, previous, now),
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
        **previous,
        "phase": Phase.FAILED.value,
        "message": message[:_MESSAGE_LIMIT],
        "observedGeneration": generation,
        "attempts": 0,
        "conditions": _merge_conditions(conditions, previous, generation, now),
    }


def _phase(instance: CustomerInstance, picture: Picture, previous: Status) -> Phase:
    failure = picture.failure
    if failure and failure.next_attempt_at is None:
        return Phase.FAILED
    if picture.healthy and not failure:
        return Phase.SUSPENDED if picture.suspended else Phase.READY
    if previous.get("timeToReadySeconds") is None and previous.get("phase") != Phase.SUSPENDED:
        return Phase.FAILED if picture.stuck else (Phase.PROVISIONING if picture.wanted else Phase.PENDING)
    if picture.stuck:
        return Phase.DEGRADED
    changed = previous.get("observedGeneration") != instance.generation
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
    values = {"state": reading.state, "expiresAt": format_time(reading.expires_at), "keyId": reading.key_id}
    return {name: value for name, value in values.items() if value is not None}


def _conditions(phase: Phase, picture: Picture) -> list[tuple[str, bool, str, str]]:
    """Return the conditions as (type, holds, reason, message); the first three as kstatus reads them."""
    message = _message(phase, picture)
    stalled = phase is Phase.FAILED or picture.stuck is not None
    reason = picture.failure.reason if picture.failure else ("ComponentStuck" if stalled else phase.value)
    return [
        ("Ready", phase is Phase.READY, reason, message),
        ("Reconciling", phase in _CONVERGING and not stalled, reason, message),
        ("Stalled", stalled, reason, message),
        ("LicenseValid", picture.license.ok, picture.license.reason, picture.license.message),
        *(_component_condition(item) for item in picture.components),
    ]


def _component_condition(item: ComponentState) -> tuple[str, bool, str, str]:
    if item.readiness is None:
        return item.condition, False, "NotCreated", f"{item.name} does not exist yet"
    if item.readiness.ready:
        return item.condition, True, "Ready", item.readiness.message or f"{item.name} is ready"
    return item.condition, False, "Stuck" if item.readiness.stuck else "NotReady", item.readiness.message


def _merge_conditions(
    conditions: Iterable[tuple[str, bool, str, str]], previous: Status, generation: int, now: datetime
) -> list[dict[str, Any]]:
    before = {item["type"]: item for item in previous.get("conditions", ())}
    merged = []
    for kind, holds, reason, message in conditions:
        value = "True" if holds else "False"
        known = before.get(kind)
        since = known["lastTransitionTime"] if known and known["status"] == value else format_time(now)
        merged.append(
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return merged


def _stages(picture: Picture) -> list[tuple[str, str, str]]:
    """Return the steps as (name, state, message), in the order in which they are taken."""
    failed = picture.failure is not None and picture.failure.next_attempt_at is None
    started = picture.wanted > 0
    steps = [
        ("accept", started, "reading the resource and its licence"),
        ("namespace", picture.founded, "creating the namespace"),
        ("guardrails", picture.guarded, "waiting for the quota to be in force"),
        ("apply", picture.complete, f"{picture.applied} of {picture.wanted} objects are applied"),
    ]
    stages: list[tuple[str, str, str]] = []
    open_before = False
    for name, done, message in steps:
        state = "Done" if done else ("Pending" if open_before else "Failed" if failed else "Active")
        open_before = open_before or not done
        stages.append((name, state, "" if state in ("Done", "Pending") else message))
    return stages + [_component_stage(item) for item in picture.components]


def _component_stage(item: ComponentState) -> tuple[str, str, str]:
    if item.readiness is None:
        return item.name, "Pending", ""
    if item.readiness.ready:
        return item.name, "Done", ""
    return item.name, "Failed" if item.readiness.stuck else "Active", item.readiness.message


def _merge_stages(stages: Iterable[tuple[str, str, str]], previous: Status, now: datetime) -> list[dict[str, Any]]:
    before = {item["name"]: item for item in previous.get("stages", ())}
    merged = []
    for name, state, message in stages:
        stage: dict[str, Any] = {"name": name, "state": state}
        known = before.get(name, {})
        restarted = known.get("state") == "Done" and state != "Done"
        if state != "Pending":
            stage["startedAt"] = format_time(now) if restarted else known.get("startedAt", format_time(now))
        if state == "Done":
            stage["finishedAt"] = known.get("finishedAt", format_time(now))
        if message:
            stage["message"] = message[:_MESSAGE_LIMIT]
        merged.append(stage)
    return merged


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
