"""Conditions and stages with their times, which move only on a transition; pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

from customer_operator.model.timestamps import format_time
from customer_operator.status.record import RecordedStage, StatusRecord

# Type, whether it holds (None: nobody can tell), reason, message.
Condition: TypeAlias = tuple[str, bool | None, str, str]
Stage: TypeAlias = tuple[str, str, str]  # name, state, what it waits for

_UNKNOWN = RecordedStage("Pending")

MESSAGE_LIMIT = 1024  # characters, the schema's bound of status.message; an answer of the API server may be longer


def merge_conditions(
    conditions: Iterable[Condition], *, previous: StatusRecord, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return status.conditions; lastTransitionTime is that of the previous status unless a condition has flipped."""
    merged = []
    for kind, holds, reason, message in conditions:
        value = "Unknown" if holds is None else str(holds)
        known = previous.conditions.get(kind)
        since = known.since if known and known.status == value else format_time(now)
        merged.append(
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message[:MESSAGE_LIMIT],
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return merged


def merge_stages(stages: Iterable[Stage], *, previous: StatusRecord, now: datetime) -> list[dict[str, Any]]:
    """Return status.stages; a stage keeps its times from the previous status unless it has begun again."""
    merged = []
    for name, state, message in stages:
        stage: dict[str, Any] = {"name": name, "state": state}
        known = previous.stages.get(name, _UNKNOWN)
        restarted = known.state == "Done" and state != "Done"
        if state != "Pending":
            stage["startedAt"] = (None if restarted else known.started_at) or format_time(now)
        if state == "Done":
            stage["finishedAt"] = known.finished_at or format_time(now)
        if message:
            stage["message"] = message[:MESSAGE_LIMIT]
        merged.append(stage)
    return merged
