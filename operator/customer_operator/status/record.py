"""The status as it stands in the resource, read once into types: all that one pass knows of the one before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from customer_operator.model.timestamps import parse_time


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


@dataclass(frozen=True, slots=True)
class RecordedCondition:
    """A condition: whether it holds, why, and since when (as written)."""

    status: str
    reason: str
    since: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class RecordedStage:
    """A stage: its state, and when it was begun and done (as written)."""

    state: str
    started_at: str | None = None
    finished_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRecord:
    """A written status; `written` is the whole of it, for parts that are carried over as they are."""

    written: Mapping[str, Any] = field(default_factory=dict)
    phase: Phase | None = None
    progress: int = 0
    observed_generation: int | None = None
    plan: str | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_handled_retry_at: datetime | None = None
    estimated_ready_at: datetime | None = None
    time_to_ready_seconds: float | None = None
    conditions: Mapping[str, RecordedCondition] = field(default_factory=dict)
    stages: Mapping[str, RecordedStage] = field(default_factory=dict)

    @property
    def reached_first(self) -> bool:
        """Whether everything has been there once: a first suspension counts like a first Ready."""
        return self.time_to_ready_seconds is not None or self.phase in _AFTER_FIRST

    def reason_of(self, condition: str) -> str | None:
        """Return the reason of a condition; None when it was not written."""
        known = self.conditions.get(condition)
        return known.reason if known else None


_AFTER_FIRST = (Phase.READY, Phase.UPDATING, Phase.DEGRADED, Phase.SUSPENDED)


def read_status(body: Mapping[str, Any]) -> StatusRecord:
    """Return the status of a resource; an empty record when none has been written yet.

    The schema has been enforced by the API server; a phase of a later version reads as none.
    """
    status = body.get("status") or {}
    return StatusRecord(
        written=status,
        phase=_phase(status.get("phase")),
        progress=status.get("progress", 0),
        observed_generation=status.get("observedGeneration"),
        plan=status.get("plan"),
        attempts=status.get("attempts", 0),
        next_attempt_at=parse_time(status.get("nextAttemptAt")),
        last_handled_retry_at=parse_time(status.get("lastHandledRetryAt")),
        estimated_ready_at=parse_time(status.get("estimatedReadyAt")),
        time_to_ready_seconds=status.get("timeToReadySeconds"),
        conditions={
            item["type"]: RecordedCondition(
                item["status"], item["reason"], item["lastTransitionTime"], item.get("message", "")
            )
            for item in status.get("conditions") or ()
        },
        stages={
            item["name"]: RecordedStage(item["state"], item.get("startedAt"), item.get("finishedAt"))
            for item in status.get("stages") or ()
        },
    )


def _phase(text: str | None) -> Phase | None:
    return Phase(text) if text in list(Phase) else None
