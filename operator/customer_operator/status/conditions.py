"""Conditions and stages with their times, which move only on a transition; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from customer_operator.model.timestamps import format_time

Condition: TypeAlias = tuple[str, bool, str, str]  # type, whether it holds, reason, message
Stage: TypeAlias = tuple[str, str, str]  # name, state, what it waits for

MESSAGE_LIMIT = 1024  # characters, the schema's bound of status.message; an answer of the API server may be longer


def merge_conditions(
    conditions: Iterable[Condition], *, previous: Mapping[str, Any], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return status.conditions; lastTransitionTime is that of the previous status unless a condition has flipped."""
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
                "message": message[:MESSAGE_LIMIT],
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return merged


def merge_stages(stages: Iterable[Stage], *, previous: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
    """Return status.stages; a stage keeps its times from the previous status unless it has begun again."""
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
            stage["message"] = message[:MESSAGE_LIMIT]
        merged.append(stage)
    return merged
