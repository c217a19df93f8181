"""A license key's way from its file to the first license, and what becomes of those it has signed."""

import asyncio
from pathlib import Path

import pytest

from billing_api.db import outbox, signing_keys
from billing_api.db.pool import Database
from billing_api.errors import (
    CommandRefused,
    SettingsError,
)
from billing_api.licensing import commands
from billing_api.licensing.keys import KeyRing
from billing_api.licensing.publication import admit
from billing_api.settings import Settings
from customer_operator.licensing.keys import KeySet, parse_jwks
from tests.services.billing_api.harness import Query, Start, changed
from tests.services.billing_api.key_rotation import (
    OVERLAP,
    key,
    kid_of,
    publication_of,
    put,
    verified,
)
from tests.support.billing import session_of


async def test_a_rotation_seen_by_two_replicas_costs_no_license_its_reader(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, query: Query
) -> None:
    async with start(replicas[0]) as one, start(replicas[1]) as two:
        readers = [KeySet(settings.data_dir / "jwks.json") for settings in replicas]
        signups = [await one.new_customer("before@example.com")]
        put(keys, "new")
        for billing in (one, two):
            await publication_of(billing).refresh()
        signups += [await one.new_customer("one@example.com"), await two.new_customer("two@example.com")]
        rows = query("SELECT signs_from - published_at AS overlap FROM signing_keys ORDER BY created_at")
        # The hour passes.
        query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("new").kid)
        signups += [await one.new_customer("three@example.com"), await two.new_customer("four@example.com")]
        assert rows[-1]["overlap"].total_seconds() == OVERLAP
        assert [kid_of(signup) for signup in signups] == [key("old").kid] * 3 + [key("new").kid] * 2
        for signup in signups:
            assert [found.plan for found in verified(signup, *readers)] == ["trial", "trial"]
        for billing in (one, two):
            served = (await billing.client.get("/.well-known/jwks.json")).text
            assert set(parse_jwks(served)) == {key("old").kid, key("new").kid}


async def test_every_license_signed_while_a_new_key_comes_in_verifies_at_once_everywhere(
    start: Start, replicas: tuple[Settings, Settings], keys: Path
) -> None:
    first, second = (changed(settings, license_key_overlap=1) for settings in replicas)
    async with start(first) as one, start(second) as two, asyncio.timeout(60):
        readers = [KeySet(settings.data_dir / "jwks.json") for settings in (first, second)]
        put(keys, "new")
        signers: list[str] = []
        while signers.count(key("new").kid) < 2:
            signup = await (one, two)[len(signers) % 2].new_customer(f"c{len(signers)}@example.com")
            verified(signup, *readers)
            signers.append(kid_of(signup))
    assert signers[0] == key("old").kid
    assert signers == sorted(signers, key=[key("old").kid, key("new").kid].index)


async def test_a_replica_that_has_not_got_the_new_key_yet_signs_with_the_earlier_one(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, query: Query
) -> None:
    async with start(replicas[0]) as one, start(replicas[1]) as two:
        put(keys, "new")
        await publication_of(one).refresh()
        query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("new").kid)
        signups = [await one.new_customer("one@example.com"), await two.new_customer("two@example.com")]
        await publication_of(two).refresh()
        readers = [KeySet(settings.data_dir / "jwks.json") for settings in replicas]
        assert [kid_of(signup) for signup in signups] == [key("new").kid, key("old").kid]
        for signup in signups:
            verified(signup, *readers)


async def test_idempotency_keys_and_sessions_outlive_the_license_key(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, query: Query
) -> None:
    async with start(replicas[0]) as billing:
        first = await billing.sign_up(key="k")
        put(keys, "new")
        await publication_of(billing).refresh()
    query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("new").kid)
    (keys / "old.pem").unlink()
    async with start(replicas[0]) as billing:
        again = await billing.sign_up(key="k")
        billing.client.cookies.clear()
        status = await billing.client.get(
            first.json()["deployment"]["check_status_url"], headers=session_of(first.json())
        )
    assert (again.status_code, again.headers.get("idempotency-replayed")) == (201, "true")
    assert again.json()["license"] == first.json()["license"]
    assert status.status_code == 200


async def test_the_first_keys_sign_at_once_and_each_is_made_known_once(database: Database, query: Query) -> None:
    ring = KeyRing([key("old")])
    await asyncio.gather(*(admit(database, ring) for _ in range(4)))
    await admit(database, KeyRing([key("old"), key("new")]))
    rows = query("SELECT kid, signs_from <= now() AS signing FROM signing_keys ORDER BY created_at")
    assert rows == [{"kid": key("old").kid, "signing": True}, {"kid": key("new").kid, "signing": None}]


async def test_of_replicas_with_different_first_keys_one_is_the_first(database: Database, query: Query) -> None:
    names = ("a", "b", "c")
    outcomes = await asyncio.gather(*(admit(database, KeyRing([key(name)])) for name in names), return_exceptions=True)
    [winner] = query("SELECT kid FROM signing_keys WHERE signs_from IS NOT NULL")
    refusals = [outcome for outcome in outcomes if isinstance(outcome, SettingsError)]
    assert len(refusals) == 2
    assert all(winner["kid"] in str(refusal) for refusal in refusals)


async def test_a_start_with_the_new_key_alone_is_refused_and_publishes_it_through_the_others(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, database: Database, query: Query
) -> None:
    async with start(replicas[0]) as billing:
        alone = KeyRing([key("new")])
        with pytest.raises(SettingsError, match=f"the key that signs now, {key('old').kid}, is missing"):
            await admit(database, alone)
        await publication_of(billing).refresh()
        with pytest.raises(SettingsError, match=r"signs only from \d{4}-.* on"):
            await admit(database, alone)
        query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("new").kid)
        await admit(database, alone)


async def test_a_key_whose_rotation_is_over_is_not_counted_on_any_more(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, database: Database, query: Query
) -> None:
    async with start(replicas[0]) as billing:
        put(keys, "new")
        await publication_of(billing).refresh()
        query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("new").kid)
        (keys / "old.pem").unlink()
        await publication_of(billing).refresh()
        _later(query)
        await publication_of(billing).refresh()
        assert f"{key('old').kid}  could sign, but no process holds it" in await commands.list_keys(database)
        with pytest.raises(CommandRefused, match="is the only key that may sign and that a process holds"):
            await commands.revoke(database, key("new").kid, add=outbox.add, anyway=False)
        await commands.revoke(database, key("new").kid, add=outbox.add, anyway=True)
    # Nobody has to revoke the one of long ago before a new key is taken.
    await admit(database, KeyRing([key("third")]))


async def test_a_key_that_another_replica_holds_is_counted_on(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, tmp_path: Path, database: Database, query: Query
) -> None:
    put(tmp_path / "other", "old")
    other = changed(replicas[1], license_private_key_path=tmp_path / "other")
    put(keys, "new")
    async with start(replicas[0]) as one, start(other) as two:
        query("UPDATE signing_keys SET signs_from = now() WHERE kid = %s", key("new").kid)
        (keys / "old.pem").unlink()
        await publication_of(one).refresh()
        _later(query)
        await publication_of(two).refresh()
        await publication_of(one).refresh()
        await commands.revoke(database, key("new").kid, add=outbox.add, anyway=False)


async def test_no_key_is_lost_while_all_processes_are_stopped(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, database: Database, query: Query
) -> None:
    async with start(replicas[0]):
        pass
    _later(query)
    for _ in range(2):
        with pytest.raises(SettingsError, match=f"the key that signs now, {key('old').kid}, is missing"):
            await admit(database, KeyRing([key("new")]))


def _later(query: Query) -> None:
    """Let an hour pass since keys were held."""
    query("UPDATE signing_keys SET held_at = held_at - interval '1 hour'")


async def test_who_says_that_it_holds_a_key_and_who_signs_with_it_do_not_wait_for_each_other(
    database: Database, query: Query
) -> None:
    kids = [key("old").kid]
    await admit(database, KeyRing([key("old")]))
    async with database.transaction() as signing, database.transaction() as holding:
        assert await signing_keys.choose(signing, kids) == kids[0]
        await signing_keys.hold(holding, kids)
        async with database.transaction() as later:
            assert await signing_keys.choose(later, kids) == kids[0]
            await signing_keys.hold(later, kids)
    assert query("SELECT held_at IS NOT NULL AS held FROM signing_keys") == [{"held": True}]


async def test_while_no_key_may_sign_signups_are_503_with_the_time_to_wait_and_leave_nothing(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, query: Query
) -> None:
    put(keys, "new")
    async with start(replicas[0]) as billing:
        query("UPDATE signing_keys SET signs_from = now() + interval '100 s' WHERE kid = %s", key("new").kid)
        query("UPDATE signing_keys SET revoked_at = now() WHERE kid = %s", key("old").kid)
        pending = await billing.sign_up()
        query("UPDATE signing_keys SET revoked_at = now()")
        revoked = await billing.sign_up()
        assert query("SELECT * FROM customers") == []
        query("UPDATE signing_keys SET revoked_at = NULL, signs_from = now() WHERE kid = %s", key("new").kid)
        assert (await billing.sign_up()).status_code == 201
    assert (pending.status_code, revoked.status_code) == (503, 503)
    assert 90 <= int(pending.headers["retry-after"]) <= 100
    assert "retry-after" in revoked.headers
