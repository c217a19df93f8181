"""The public keys in all the places where they are published: the file, the endpoint and the ConfigMap."""

import asyncio
from pathlib import Path

import jwt
import pytest

from billing_api.db import outbox, signing_keys
from billing_api.db.pool import Database
from billing_api.errors import (
    ClusterRejected,
    ClusterUnavailable,
    Postponed,
    Refused,
    WatchExpired,
)
from billing_api.licensing import commands, config_map
from billing_api.licensing.config_map import ConfigMapPublication
from billing_api.licensing.keys import KeyRing
from billing_api.licensing.publication import Publication, admit
from billing_api.settings import Settings
from customer_operator.licensing.keys import parse_jwks
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Query, Start, changed
from tests.services.billing_api.key_rotation import (
    OVERLAP,
    ConfigMaps,
    Jobs,
    key,
    kid_of,
    publication_of,
    put,
)
from tests.services.billing_api.relay import Relay
from tests.support.billing import instance_name
from tests.support.waiting import eventually


async def test_a_key_that_is_revoked_leaves_every_publication(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, query: Query
) -> None:
    put(keys, "new")
    async with start(replicas[0]) as billing:
        assert set(parse_jwks((replicas[0].data_dir / "jwks.json").read_text())) == {key("old").kid, key("new").kid}
        query("UPDATE signing_keys SET revoked_at = now() WHERE kid = %s", key("old").kid)
        await publication_of(billing).refresh()
        response = await billing.client.get("/.well-known/jwks.json")
        assert response.json() == {"keys": [key("new").jwk]}
        assert response.headers["cache-control"] == "public, max-age=300"
        assert set(parse_jwks((replicas[0].data_dir / "jwks.json").read_text())) == {key("new").kid}


def _file(replicas: tuple[Settings, Settings]) -> Path:
    return replicas[0].data_dir / "jwks.json"


@pytest.fixture
def blocked(replicas: tuple[Settings, Settings]) -> None:
    """Put a folder where jwks.json should be: no file can take its place, not even root's."""
    _file(replicas).mkdir()


async def test_a_start_bears_a_database_that_is_too_slow_for_requests(
    dsn: str, replicas: tuple[Settings, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """As on a machine on which everything starts at once."""
    relay = Relay(dsn)
    await relay.start()
    await relay.fail("silent")
    async with Database(relay.dsn, size=1) as database:
        published = Publication(database, KeyRing.open(replicas[0]), settings=replicas[0], add=None)
        starting = asyncio.create_task(published.start())
        await eventually(lambda: "gave no connection within" in caplog.text)
        assert not starting.done()
        await relay.start()
        await starting
    await relay.stop()
    assert published.jwks == [key("old").jwk]


@pytest.mark.usefixtures("blocked")
async def test_a_file_that_cannot_be_written_holds_nothing_else_up_and_is_tried_until_it_can(
    replicas: tuple[Settings, Settings],
    keys: Path,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs, both = Jobs(), [key("old").jwk, key("new").jwk]
    published = Publication(database, KeyRing.open(replicas[0]), settings=replicas[0], add=jobs.add)
    await published.start()
    put(keys, "new")
    for _ in range(3):
        await published.refresh()
    assert published.jwks == both
    assert len(jobs.added) == 2
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told.startswith(f"DATA_DIR: {_file(replicas)} cannot be written (Is a directory)")
    _file(replicas).rmdir()
    await published.refresh()
    assert set(parse_jwks(_file(replicas).read_text())) == {key("old").kid, key("new").kid}


@pytest.mark.usefixtures("blocked")
async def test_without_a_cluster_a_key_counts_as_published_when_the_file_has_it(
    start: Start, replicas: tuple[Settings, Settings], keys: Path, query: Query
) -> None:
    put(keys, "new")
    async with start(replicas[0]) as billing:
        answer = await billing.client.get("/.well-known/jwks.json")
        assert query("SELECT kid FROM signing_keys WHERE published_at IS NOT NULL") == []
        _file(replicas).rmdir()
        await publication_of(billing).refresh()
        assert len(query("SELECT kid FROM signing_keys WHERE published_at IS NOT NULL")) == 2
    assert {jwk["kid"] for jwk in answer.json()["keys"]} == {key("old").kid, key("new").kid}


async def test_a_file_that_somebody_removes_or_edits_is_there_again(
    start: Start, replicas: tuple[Settings, Settings]
) -> None:
    async with start(replicas[0]) as billing:
        right = _file(replicas).read_text()
        _file(replicas).unlink()
        await publication_of(billing).refresh()
        assert _file(replicas).read_text() == right
        _file(replicas).write_text("{}")
        await publication_of(billing).refresh()
        assert _file(replicas).read_text() == right


async def test_caches_let_go_of_the_keys_before_a_new_one_signs(start: Start, settings: Settings) -> None:
    async with start(changed(settings, license_key_overlap=100)) as billing:
        response = await billing.client.get("/.well-known/jwks.json")
    assert response.headers["cache-control"] == "public, max-age=50"


async def test_with_a_cluster_a_key_counts_as_published_when_the_config_map_has_it(
    database: Database, replicas: tuple[Settings, Settings], query: Query
) -> None:
    jobs, cluster, settings = Jobs(), ConfigMaps(), replicas[0]
    await admit(database, KeyRing([key("old")]))
    published = Publication(database, KeyRing([key("old"), key("new")]), settings=settings, add=jobs.add)
    handler = ConfigMapPublication(database, cluster, settings=settings)
    await published.start()
    for failure, told in (
        (ClusterUnavailable("away"), ClusterUnavailable),
        (WatchExpired("gone"), Postponed),
        (ClusterRejected("not that name"), Refused),
    ):
        cluster.failure = failure
        with pytest.raises(told, match=str(failure)):
            await handler.handle(None)
    assert query("SELECT kid FROM signing_keys WHERE published_at IS NOT NULL") == []
    cluster.failure = None
    assert await handler.handle(None) == {"keys": [key("old").kid, key("new").kid]}
    held = cluster.held["iotistic-system", "license-jwks"]["jwks.json"]
    rows = query("SELECT kid, signs_from - published_at AS overlap FROM signing_keys ORDER BY created_at")
    assert set(parse_jwks(held)) == {key("old").kid, key("new").kid}
    assert rows[0]["overlap"].total_seconds() <= 0
    assert rows[1]["overlap"].total_seconds() == OVERLAP


async def test_the_config_map_is_written_at_the_start_and_whenever_the_set_changes(
    database: Database, replicas: tuple[Settings, Settings], keys: Path
) -> None:
    jobs = Jobs()
    published = Publication(database, KeyRing.open(replicas[0]), settings=replicas[0], add=jobs.add)
    job: tuple[str, str, dict[str, object]] = ("jwks.publish", "jwks", {})
    await published.start()
    await published.refresh()
    assert jobs.added == [job]
    put(keys, "new")
    await published.refresh()
    await published.refresh()
    assert jobs.added == [job] * 2
    async with database.transaction() as connection:
        assert await signing_keys.revoke(connection, key("old").kid)
    await published.refresh()
    assert jobs.added == [job] * 3


async def test_a_config_map_that_somebody_edits_or_removes_is_there_again_and_else_it_is_only_read(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_map, "_LOOK_SECONDS", 0.05)
    async with start(connected):
        await kubernetes.wait_for(lambda: bool(_in_config_map(kubernetes)))
        right = dict(kubernetes.config_maps)
        [name] = right
        broken: tuple[dict[str, dict[str, str]], ...] = ({}, {name: {}}, {name: {"jwks.json": "{}"}})
        for wrong in broken:
            kubernetes.config_maps = wrong
            await kubernetes.wait_for(lambda: kubernetes.config_maps == right)
        reads, writes = kubernetes.config_map_reads, kubernetes.config_map_writes
        await kubernetes.wait_for(lambda: kubernetes.config_map_reads >= reads + 5)
        assert kubernetes.config_map_writes == writes


async def test_a_config_map_that_is_refused_is_not_ordered_again_and_again(
    database: Database, replicas: tuple[Settings, Settings], query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    await admit(database, KeyRing([key("old")]))
    publication = ConfigMapPublication(database, ConfigMaps(), settings=replicas[0])
    rows = "SELECT state FROM outbox ORDER BY id"
    for _ in range(2):
        await publication.look()
    assert query(rows) == [{"state": "pending"}]
    query("UPDATE outbox SET state = 'refused'")
    await publication.look()
    assert query(rows) == [{"state": "refused"}]
    query("UPDATE outbox SET state = 'done'")
    await publication.look()
    assert query(rows) == [{"state": "done"}, {"state": "pending"}]
    assert caplog.text.count("ConfigMap iotistic-system/license-jwks is gone, and is written again") == 2


async def test_a_leaked_key_is_out_of_the_cluster_with_all_it_has_signed(
    start: Start,
    replicas: tuple[Settings, Settings],
    keys: Path,
    database: Database,
    query: Query,
    kubernetes: FakeKubernetes,
    tmp_path: Path,
) -> None:
    config = kubernetes.write_kubeconfig(tmp_path / "kubeconfig")
    settings = changed(replicas[0], kubeconfig=config, license_key_overlap=1)
    async with start(settings) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
        put(keys, "new")
        await kubernetes.wait_for(lambda: _in_config_map(kubernetes) == {key("old").kid, key("new").kid})
        async with asyncio.timeout(60):
            number = 0
            while kid_of(await billing.new_customer(f"c{number}@example.com")) == key("old").kid:
                number += 1
        told = await commands.revoke(database, key("old").kid, add=outbox.add, anyway=False)
        await kubernetes.wait_for(lambda: _in_config_map(kubernetes) == {key("new").kid})
        await kubernetes.wait_for(lambda: _signers(kubernetes) == {key("new").kid})
    assert "is revoked" in told
    assert query("SELECT DISTINCT state FROM outbox WHERE kind = 'license.renew'") == [{"state": "done"}]
    assert query(
        "SELECT kid FROM licenses AS l WHERE sequence = (SELECT max(sequence) FROM licenses AS newer "
        "WHERE newer.customer_id = l.customer_id) GROUP BY kid"
    ) == [{"kid": key("new").kid}]


def _in_config_map(kubernetes: FakeKubernetes) -> set[str]:
    text = kubernetes.config_maps.get("iotistic-system/license-jwks", {}).get("jwks.json")
    return set(parse_jwks(text)) if text else set()


def _signers(kubernetes: FakeKubernetes) -> set[str]:
    licenses = [held["spec"]["license"]["key"] for held in kubernetes.objects.values()]
    return {str(jwt.get_unverified_header(license)["kid"]) for license in licenses}
