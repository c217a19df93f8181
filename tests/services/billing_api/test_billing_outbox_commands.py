"""``billing-api outbox`` as those use it who look after the billing API."""

from pathlib import Path

import psycopg

from billing_api.db import embedded
from billing_api.db.migrate import migrate
from tests.services.billing_api.harness import Query
from tests.support.billing import billing_process, run_billing

_REFUSED = """
    INSERT INTO outbox (kind, subject, payload, state, attempts, last_error, created_at, finished_at)
    VALUES ('instance.apply', 'cust-1', '{"email": "john@example.com"}', 'refused', 3, E'spec.plan:\nno such plan',
            '2026-01-02 03:04:05+00', now())
"""


async def test_rows_are_listed_refused_ones_first_with_their_reason_and_without_their_payload(
    dsn: str, query: Query
) -> None:
    query("INSERT INTO outbox (kind, subject) VALUES ('mail.send', 'cust-22')")
    query("INSERT INTO outbox (kind, subject, state, finished_at) VALUES ('mail.send', 'cust-3', 'done', now())")
    query(_REFUSED)
    status, output, _ = await run_billing("outbox", "list", DATABASE_URL=dsn)
    assert status == 0
    head, refused, pending = output.splitlines()
    assert head.split() == ["ID", "KIND", "SUBJECT", "STATE", "ATTEMPTS", "CREATED", "NEXT", "REASON"]
    assert refused == (
        "3   instance.apply  cust-1   refused  3         2026-01-02T03:04:05Z  -     spec.plan: no such plan"
    )
    assert pending.split()[:5] == ["1", "mail.send", "cust-22", "pending", "0"]
    assert pending.split()[-1] == "due"
    _, output, _ = await run_billing("outbox", "list", "--state", "done", "--kind", "mail.send", DATABASE_URL=dsn)
    assert [line.split()[2] for line in output.splitlines()] == ["SUBJECT", "cust-3"]
    _, output, _ = await run_billing("outbox", "list", "--limit", "1", DATABASE_URL=dsn)
    assert output.splitlines()[2:] == ["There are more than 1; see them with --limit."]
    _, output, _ = await run_billing("outbox", "list", "--subject", "cust-9", DATABASE_URL=dsn)
    assert output == "Nothing in the outbox is refused or pending.\n"


async def test_a_refused_row_is_tried_again_as_if_it_were_new(dsn: str, query: Query) -> None:
    query(_REFUSED)
    query("INSERT INTO outbox (kind, subject, state, finished_at) VALUES ('mail.send', 'cust-3', 'done', now())")
    status, output, log = await run_billing("outbox", "retry", "1", "2", "77", DATABASE_URL=dsn)
    assert (status, output) == (1, "")
    assert log.splitlines() == ["Due now: 1.", "Not there, done, or in work: 2, 77; see billing-api outbox list"]
    [row] = query("SELECT state, attempts, finished_at, next_attempt_at <= now() AS due FROM outbox WHERE id = 1")
    assert row == {"state": "pending", "attempts": 0, "finished_at": None, "due": True}


async def test_all_refused_rows_or_those_of_a_kind_are_tried_again(dsn: str, query: Query) -> None:
    query(_REFUSED)
    query(_REFUSED)
    query("UPDATE outbox SET kind = 'mail.send' WHERE id = 2")
    assert (await run_billing("outbox", "retry", "--refused", "--kind", "mail.send", DATABASE_URL=dsn))[:2] == (
        0,
        "Due now: 2.\n",
    )
    assert (await run_billing("outbox", "retry", "--refused", DATABASE_URL=dsn))[1] == "Due now: 1.\n"
    assert (await run_billing("outbox", "retry", "--refused", DATABASE_URL=dsn))[
        1
    ] == "Nothing in the outbox is refused.\n"


async def test_the_built_in_database_is_used_where_it_runs_and_started_where_it_does_not(folder: Path) -> None:
    with embedded.running(folder) as url:
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_REFUSED.encode())
    status, output, log = await run_billing("outbox", "list", DATA_DIR=str(folder))
    assert (status, "cust-1" in output) == (0, True), log
    assert not embedded.answers(folder)
    async with billing_process({"DATA_DIR": str(folder)}) as process, await process.client() as client:
        status, output, log = await run_billing("outbox", "retry", "1", DATA_DIR=str(folder))
        assert (status, output) == (0, "Due now: 1.\n"), log
        assert (await client.get("/health/ready")).status_code == 200
        assert 'pending{kind="instance.apply"} 1.0' in (await client.get("/metrics")).text


async def test_what_is_wrong_is_told_in_a_line_with_the_cure(folder: Path) -> None:
    status, _, log = await run_billing("outbox", "list", DATA_DIR=str(folder))
    assert (status, log) == (
        78,
        f"DATA_DIR: no database in {folder}; set DATA_DIR or DATABASE_URL as for the billing API\n",
    )
    assert not (folder / "postgres").exists()
    for arguments, cure in (
        (("outbox",), "required: COMMAND"),
        (("outbox", "retry"), "one of the arguments"),
        (("outbox", "retry", "first"), "must be a whole number from 1"),
        (("outbox", "list", "--state", "lost"), "choose from"),
    ):
        status, _, log = await run_billing(*arguments)
        assert status == 2
        assert cure in log
