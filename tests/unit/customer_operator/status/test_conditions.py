"""Times of conditions and stages move on a transition, and only then."""

from datetime import timedelta
from typing import Any

import pytest

from customer_operator.status.conditions import MESSAGE_LIMIT, Stage, merge_conditions, merge_stages
from customer_operator.status.record import read_status
from tests.support.statuses import NOW

START, LATER = "2026-11-21T12:01:00Z", "2026-11-21T12:02:00Z"


def conditions(*items: tuple[str, bool, str, str], before: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    now = NOW if before is None else NOW + timedelta(minutes=1)
    return merge_conditions(
        items, previous=read_status({"status": {"conditions": before or []}}), generation=7, now=now
    )


def stages(*items: Stage, before: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    now = NOW if before is None else NOW + timedelta(minutes=1)
    return merge_stages(items, previous=read_status({"status": {"stages": before or []}}), now=now)


def test_a_new_condition_has_every_field_the_contract_requires() -> None:
    assert conditions(("Ready", True, "Ready", "everything is ready")) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "everything is ready",
            "observedGeneration": 7,
            "lastTransitionTime": START,
        }
    ]


@pytest.mark.parametrize(
    ("item", "since"),
    [
        (("Ready", True, "Ready", "ok"), START),
        (("Ready", True, "Other", "another sentence"), START),
        (("Ready", False, "Ready", "ok"), LATER),
        (("Stalled", True, "Ready", "ok"), LATER),
    ],
    ids=["nothing new", "another reason", "flipped", "another type"],
)
def test_the_transition_time_moves_only_when_the_status_flips(item: tuple[str, bool, str, str], since: str) -> None:
    before = conditions(("Ready", True, "Ready", "ok"))

    assert conditions(item, before=before)[0]["lastTransitionTime"] == since


def test_long_messages_are_cut_to_the_bound() -> None:
    text = "x" * (MESSAGE_LIMIT + 1)

    assert len(conditions(("Ready", True, "Ready", text))[0]["message"]) == MESSAGE_LIMIT
    assert len(stages(("apply", "Active", text))[0]["message"]) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("was", "becomes", "started", "finished"),
    [
        (None, "Pending", None, None),
        (None, "Active", LATER, None),
        (None, "Done", LATER, LATER),
        ("Pending", "Active", LATER, None),
        ("Pending", "Done", LATER, LATER),
        ("Active", "Active", START, None),
        ("Active", "Done", START, LATER),
        ("Active", "Failed", START, None),
        ("Failed", "Active", START, None),
        ("Failed", "Done", START, LATER),
        ("Done", "Done", START, START),
        ("Done", "Active", LATER, None),
        ("Done", "Failed", LATER, None),
        ("Done", "Pending", None, None),
    ],
)
def test_a_stage_keeps_its_times_unless_it_begins_again(
    was: str | None, becomes: str, started: str | None, finished: str | None
) -> None:
    before = stages(("apply", was, "")) if was else []

    (stage,) = stages(("apply", becomes, ""), before=before)

    assert (stage["state"], stage.get("startedAt"), stage.get("finishedAt")) == (becomes, started, finished)


def test_a_stage_that_began_again_finishes_again() -> None:
    done = stages(("apply", "Done", ""))
    again = merge_stages(
        [("apply", "Active", "")], previous=read_status({"status": {"stages": done}}), now=NOW + timedelta(minutes=1)
    )
    (stage,) = merge_stages(
        [("apply", "Done", "")], previous=read_status({"status": {"stages": again}}), now=NOW + timedelta(minutes=2)
    )

    assert (stage["startedAt"], stage["finishedAt"]) == (LATER, "2026-11-21T12:03:00Z")


def test_a_stage_without_anything_to_say_has_no_message() -> None:
    assert "message" not in stages(("apply", "Done", ""))[0]
    assert stages(("apply", "Active", "waiting"))[0]["message"] == "waiting"
