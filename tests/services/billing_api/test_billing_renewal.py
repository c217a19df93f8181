"""Sequence numbers, revoked keys, renewal, and the operators' commands for keys."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from billing_api.accounts import renewal
from billing_api.accounts.renewal import Renewals
from billing_api.db import licenses, signing_keys
from billing_api.db.licenses import License
from billing_api.db.pool import Database
from billing_api.errors import CommandRefused, Postponed
from billing_api.licensing import commands
from billing_api.licensing.issuing import LicenseIssuer
from billing_api.licensing.keys import KeyRing
from billing_api.licensing.publication import admit, document
from billing_api.settings import Settings
from customer_operator.errors import LicenseRejected
from customer_operator.licensing.keys import KeySet
from tests.services.billing_api.harness import Query, changed
from tests.services.billing_api.key_rotation import ISSUER, Job, Jobs, key, new_customers, put, verify_row


@pytest.fixture
async def ring(database: Database, query: Query) -> KeyRing:
    """Two keys, of which the newer signs."""
    await admit(database, KeyRing([key("old")]))
    ring = KeyRing([key("old"), key("new")])
    await admit(database, ring)
    query("UPDATE signing_keys SET published_at = now(), signs_from = now() WHERE kid = %s", key("new").kid)
    return ring


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def renewals(database: Database, ring: KeyRing, jobs: Jobs) -> Renewals:
    issuer = LicenseIssuer(ring, issuer=ISSUER)
    return Renewals(database=database, issuer=issuer, order=jobs.order, add=jobs.add)


async def newest(database: Database, customer_id: str) -> License:
    async with database.transaction() as connection:
        found = await licenses.newest_license(connection, customer_id)
    assert found is not None
    return found


async def test_of_licenses_made_in_one_second_the_last_is_the_newest(
    database: Database, ring: KeyRing, renewals: Renewals, jobs: Jobs, query: Query
) -> None:
    [customer_id] = await new_customers(database, "acme", ring=ring)
    made = await asyncio.gather(*(_renew(database, renewals, customer_id) for _ in range(8)))
    rows = query("SELECT jti, sequence FROM licenses ORDER BY sequence")
    assert [row["sequence"] for row in rows] == list(range(1, 10))
    assert {license.jti for license in made} == {row["jti"] for row in rows[1:]}
    assert (await newest(database, customer_id)).jti == rows[-1]["jti"]
    assert jobs.ordered == [customer_id] * 8
    assert [row["type"] for row in query("SELECT type FROM license_history ORDER BY id")] == [
        "trial_signup",
        *["test"] * 8,
    ]


async def test_numbers_are_each_customers_own(database: Database, ring: KeyRing, query: Query) -> None:
    await new_customers(database, "acme", "globex", ring=ring)
    assert query("SELECT sequence FROM licenses") == [{"sequence": 1}] * 2


async def test_a_renewed_license_keeps_plan_and_term_and_verifies(
    database: Database, ring: KeyRing, renewals: Renewals, tmp_path: Path
) -> None:
    [customer_id] = await new_customers(database, "acme", ring=ring)
    before = await newest(database, customer_id)
    async with database.transaction() as connection:
        after = await renewals.renew(connection, customer_id, reason="test")
    assert after is not None
    assert (after.plan, after.expires_at, after.sequence) == (before.plan, before.expires_at, 2)
    (tmp_path / "jwks.json").write_text(document([key("new").jwk]))
    assert verify_row(after, instance="acme", reader=KeySet(tmp_path / "jwks.json")).expires_at == before.expires_at


async def test_who_is_gone_gets_no_license(database: Database, renewals: Renewals, jobs: Jobs) -> None:
    async with database.transaction() as connection:
        assert await renewals.renew(connection, "cust-nobody", reason="test") is None
    assert jobs.ordered == []


async def test_all_a_revoked_key_has_signed_is_renewed_once_and_nothing_else(
    database: Database,
    ring: KeyRing,
    renewals: Renewals,
    jobs: Jobs,
    query: Query,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "_BATCH", 2)
    theirs = await new_customers(database, "a", "b", "c", "d", "e", ring=KeyRing([key("old")]))
    [other] = await new_customers(database, "other", ring=ring)
    async with database.transaction() as connection:
        await renewals.renew(connection, theirs[1], reason="test")
    jobs.ordered.clear()
    await commands.revoke(database, key("old").kid, add=jobs.add, anyway=False)
    for kind, subject, payload in jobs.added:
        assert (kind, subject) == ("license.renew", key("old").kid)
        await renewals.handle(Job(payload))
    assert [payload["after"] for _, _, payload in jobs.added] == ["", "cust-c", "cust-e"]
    again = await renewals.handle(Job({"kid": key("old").kid, "after": ""}))
    (tmp_path / "jwks.json").write_text(document([key("new").jwk]))
    for customer_id in (*theirs, other):
        license = await newest(database, customer_id)
        verify_row(license, instance=customer_id.removeprefix("cust-"), reader=KeySet(tmp_path / "jwks.json"))
    assert again == {"renewed": 0}
    assert jobs.ordered == ["cust-a", "cust-c", "cust-d", "cust-e"]
    assert len(query("SELECT * FROM license_history WHERE type = 'key_revoked'")) == 4


async def test_two_replicas_that_do_the_same_row_renew_every_license_once(
    database: Database, ring: KeyRing, renewals: Renewals, jobs: Jobs, query: Query
) -> None:
    await new_customers(database, "a", "b", "c", "d", "e", ring=KeyRing([key("old")]))
    await commands.revoke(database, key("old").kid, add=jobs.add, anyway=False)
    [(_, _, payload)] = jobs.added
    outcomes = await asyncio.gather(renewals.handle(Job(payload)), renewals.handle(Job(payload)))
    assert sum(outcome["renewed"] for outcome in outcomes) == 5
    assert query("SELECT max(sequence) AS most FROM licenses") == [{"most": 2}]


async def test_without_a_key_that_signs_renewal_waits_and_goes_on_where_it_was(
    database: Database, ring: KeyRing, renewals: Renewals, jobs: Jobs, query: Query
) -> None:
    [customer_id] = await new_customers(database, "acme", ring=ring)
    query("UPDATE signing_keys SET signs_from = now() + interval '1 hour' WHERE kid = %s", key("old").kid)
    await commands.revoke(database, key("new").kid, add=jobs.add, anyway=True)
    [(_, _, payload)] = jobs.added
    with pytest.raises(Postponed, match="no key may sign licenses at the moment"):
        await renewals.handle(Job(payload))
    query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("old").kid)
    assert await renewals.handle(Job(payload)) == {"renewed": 1}
    assert (await newest(database, customer_id)).kid == key("old").kid


async def test_a_license_in_the_making_is_waited_for_by_who_revokes_its_key_and_then_renewed(
    database: Database, ring: KeyRing, renewals: Renewals, jobs: Jobs, query: Query
) -> None:
    [customer_id, later] = await new_customers(database, "acme", "later", ring=KeyRing([key("old")]))
    async with database.transaction() as connection:
        made = await renewals.renew(connection, customer_id, reason="test")
        revoking = asyncio.create_task(commands.revoke(database, key("new").kid, add=jobs.add, anyway=False))
        await _until_waiting(revoking, query)
        queued = asyncio.create_task(_renew(database, renewals, later))
        await _until_waiting(queued, query, number=2)
    await revoking
    assert (made and made.kid, (await queued).kid) == (key("new").kid, key("old").kid)
    [(_, _, payload)] = jobs.added
    assert await renewals.handle(Job(payload)) == {"renewed": 1}
    assert (await newest(database, customer_id)).kid == key("old").kid


async def _renew(database: Database, renewals: Renewals, customer_id: str) -> License:
    async with database.transaction() as connection:
        license = await renewals.renew(connection, customer_id, reason="test")
    assert license is not None
    return license


async def _until_waiting(task: asyncio.Task[Any], query: Query, *, number: int = 1) -> None:
    """Return when the task, the last of this number, waits for a lock; fail when it ends without."""
    async with asyncio.timeout(10):
        while len(query("SELECT pid FROM pg_locks WHERE NOT granted")) < number:
            assert not task.done()
            await asyncio.sleep(0.01)


async def test_a_key_that_is_just_being_revoked_signs_nothing_more(
    database: Database, ring: KeyRing, renewals: Renewals, query: Query
) -> None:
    [customer_id] = await new_customers(database, "acme", ring=ring)
    async with database.transaction() as connection:
        await signing_keys.revoke(connection, key("new").kid)
        renewing = asyncio.create_task(_renew(database, renewals, customer_id))
        await _until_waiting(renewing, query)
    assert (await renewing).kid == key("old").kid


async def test_a_revoked_key_is_not_trusted_by_the_operator(
    database: Database, ring: KeyRing, jobs: Jobs, tmp_path: Path
) -> None:
    [customer_id] = await new_customers(database, "acme", ring=KeyRing([key("old")]))
    (tmp_path / "jwks.json").write_text(document([key("new").jwk]))
    with pytest.raises(LicenseRejected, match="which the operator does not know"):
        verify_row(await newest(database, customer_id), instance="acme", reader=KeySet(tmp_path / "jwks.json"))


async def test_the_list_tells_what_becomes_of_every_key(
    database: Database, ring: KeyRing, jobs: Jobs, query: Query
) -> None:
    await new_customers(database, "acme", "globex", ring=KeyRing([key("old")]))
    await new_customers(database, "initech", ring=ring)
    await admit(database, KeyRing([key("old"), key("third"), key("fourth")]))
    query("UPDATE signing_keys SET signs_from = '2040-01-01T00:00:00Z' WHERE kid = %s", key("third").kid)
    query("UPDATE signing_keys SET revoked_at = '2026-01-01T00:00:00Z' WHERE kid = %s", key("old").kid)
    header, *lines = (await commands.list_keys(database)).splitlines()
    assert header.split() == ["KEY", "STATE", "CUSTOMERS"]
    states = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert states[key("old").kid] == "revoked at 2026-01-01T00:00:00Z 2"
    assert states[key("new").kid].startswith("signs since 20")
    assert states[key("new").kid].endswith("Z 1")
    assert states[key("third").kid] == "published, signs from 2040-01-01T00:00:00Z 0"
    assert states[key("fourth").kid] == "not published yet 0"


async def test_rotate_puts_a_new_key_beside_the_others_and_makes_it_known(
    database: Database, ring: KeyRing, settings: Settings, tmp_path: Path, query: Query
) -> None:
    put(tmp_path / "keys", "old")
    told = await commands.rotate(database, changed(settings, license_private_key_path=tmp_path / "keys"))
    [path] = (tmp_path / "keys").glob("license-signing-key-*.pem")
    [added] = KeyRing.open(changed(settings, license_private_key_path=path)).keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"New key {added.kid} in {path}" in told
    assert query("SELECT signs_from FROM signing_keys WHERE kid = %s", added.kid) == [{"signs_from": None}]


async def test_rotate_of_generated_keys_adds_one_in_the_data_folder(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    first = KeyRing.open(settings)
    await admit(database, first)
    await commands.rotate(database, settings)
    first.refresh()
    assert len(first.keys) == len(KeyRing.open(settings).keys) == 2


async def test_rotate_says_what_to_do_where_it_cannot_write(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    put(tmp_path / "keys", "old")
    with pytest.raises(CommandRefused, match="is one file; make it a folder"):
        await commands.rotate(database, changed(settings, license_private_key_path=tmp_path / "keys" / "old.pem"))
    # Root may write everywhere, but not into what is no file system of files.
    with pytest.raises(CommandRefused, match=r"cannot write into /proc/self .*mounted Secret"):
        await commands.rotate(database, changed(settings, license_private_key_path=Path("/proc/self")))


async def test_revoke_refuses_what_it_cannot_do_with_the_cure(
    database: Database, ring: KeyRing, jobs: Jobs, query: Query
) -> None:
    with pytest.raises(CommandRefused, match="no key begins with 'nonsense'; see: billing-api keys list"):
        await commands.revoke(database, "nonsense", add=jobs.add, anyway=True)
    with pytest.raises(CommandRefused, match="no key begins with ''"):
        await commands.revoke(database, "", add=jobs.add, anyway=True)
    told = await commands.revoke(database, key("old").kid[:10], add=jobs.add, anyway=False)
    assert told == f"Key {key('old').kid} is revoked. Licenses it has signed are renewed.\n"
    with pytest.raises(CommandRefused, match="was revoked at 20"):
        await commands.revoke(database, key("old").kid, add=jobs.add, anyway=False)
    with pytest.raises(CommandRefused, match=r"is the only key that may sign.* keys rotate"):
        await commands.revoke(database, key("new").kid, add=jobs.add, anyway=False)
    assert query("SELECT kid FROM signing_keys WHERE revoked_at IS NULL") == [{"kid": key("new").kid}]
    assert len(jobs.added) == 1
    told = await commands.revoke(database, key("new").kid, add=jobs.add, anyway=True)
    assert told.endswith("are renewed once a key signs.\n")
