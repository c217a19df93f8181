"""The book: what is asked for beside what is published, and who is told of which change."""

import pytest

from customer_operator.naming import Manifest
from mqtt_router.routes import CONFIG_MAPS, DATA_KEY, PUBLISHED_AT_ANNOTATION, SELECTOR, shard_of
from tests.support.routes import ADDRESS, Scene, broker_service, host_of, routed

SHARD = shard_of(host_of("acme"))
LINE = f"{host_of('acme')} {ADDRESS}:8883"


@pytest.fixture
def scene() -> Scene:
    return Scene()


def config_map(text: str, *, version: int, shard: int = SHARD, uid: str = "u") -> Manifest:
    key, _, value = SELECTOR.partition("=")
    metadata = {"name": CONFIG_MAPS[shard], "uid": uid, "resourceVersion": str(version)}
    metadata |= {
        "labels": {key: value, "app.kubernetes.io/managed-by": "customer-operator"},  # type: ignore[dict-item]
        "annotations": {PUBLISHED_AT_ANNOTATION: "2026-11-21T12:00:00.000000Z"},  # type: ignore[dict-item]
    }
    return {"kind": "ConfigMap", "metadata": metadata, "data": {DATA_KEY: text}}


def test_a_route_needs_the_status_and_the_address_whichever_comes_first(scene: Scene) -> None:
    scene.cache.upsert_instance(routed())
    scene.book.refresh("acme")
    assert scene.lines == []
    assert "an address" in scene.book.readiness("acme").message

    scene.cache.upsert("acme", broker_service())
    scene.book.refresh("acme")

    assert scene.lines == [LINE]
    assert scene.shards == [SHARD]
    assert not scene.book.readiness("acme").ready


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene.put(phase="Suspended"),
        lambda scene: scene.put(kind="NodePort"),
        lambda scene: scene.put(address=None),
        lambda scene: scene.put(urls={"mqtt": "mqtt://broker.acme.example"}),
        lambda scene: scene.remove(),
    ],
    ids=["suspended", "another exposure", "no address", "external", "deleted"],
)
def test_a_route_is_withdrawn_when_devices_do_not_come_by_it_any_more(scene: Scene, change: object) -> None:
    scene.put()
    scene.shards.clear()

    change(scene)  # type: ignore[operator]

    assert scene.lines == []
    assert scene.shards == [SHARD]


def test_a_route_follows_the_address(scene: Scene) -> None:
    scene.put()
    scene.put(address="10.96.0.99")

    assert scene.lines == [LINE.replace(ADDRESS, "10.96.0.99")]
    assert scene.shards == [SHARD, SHARD]


def test_what_says_nothing_new_disturbs_nobody(scene: Scene) -> None:
    scene.put()
    scene.shards.clear()
    scene.names.clear()

    scene.put()
    scene.put(phase="Degraded")

    assert (scene.shards, scene.names) == ([], [])


def test_a_route_is_ready_when_it_is_published_as_it_is_and_its_instance_is_looked_at_then(scene: Scene) -> None:
    scene.put()
    scene.names.clear()
    scene.book.upsert(config_map(f"{LINE}0\n", version=1))
    assert not scene.book.readiness("acme").ready, "that is another port"
    assert f"the route of {host_of('acme')}" in scene.book.readiness("acme").message

    scene.names.clear()
    scene.book.upsert(config_map(f"{LINE}\n", version=2))

    assert scene.book.readiness("acme").ready
    assert scene.names == ["acme"]


def test_an_older_version_of_a_config_map_and_the_same_again_are_no_news(scene: Scene) -> None:
    scene.put()
    scene.book.upsert(config_map(f"{LINE}\n", version=7))
    scene.shards.clear()

    scene.book.upsert(config_map("", version=6))
    scene.book.upsert(config_map(f"{LINE}\n", version=7))
    scene.book.delete(config_map("", version=6))
    scene.book.delete(config_map("", version=8, uid="another"))
    scene.book.prune("ConfigMap", uids=[], version=6)

    assert scene.book.readiness("acme").ready
    assert scene.shards == []


@pytest.mark.parametrize("how", ["edited", "deleted", "pruned"])
def test_what_others_do_to_a_config_map_has_it_compared(scene: Scene, how: str) -> None:
    scene.put()
    scene.book.upsert(config_map(f"{LINE}\n", version=7))
    scene.shards.clear()

    match how:
        case "edited":
            scene.book.upsert(config_map("", version=8))
        case "deleted":
            scene.book.delete(config_map("", version=8))
        case _:
            scene.book.prune("ConfigMap", uids=["other"], version=8)

    assert scene.shards == [SHARD]
    live = scene.book.live(SHARD)
    assert live is None or live.text != scene.book.text(SHARD)


@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_what_others_do_to_a_config_map_makes_no_instance_worse(scene: Scene, how: str) -> None:
    """It is put right at once; a pass that comes between shall not tell the customer otherwise."""
    scene.put()
    scene.book.upsert(config_map(f"{LINE}\n", version=7))
    assert scene.book.readiness("acme").ready

    if how == "edited":
        scene.book.upsert(config_map("", version=8))
    else:
        scene.book.delete(config_map("", version=8))

    assert scene.book.readiness("acme").ready
    scene.put(address="10.96.0.99")
    assert not scene.book.readiness("acme").ready, "that route has never been published"
    scene.put()
    assert not scene.book.readiness("acme").ready, "it was withdrawn in between"


@pytest.mark.parametrize(
    "spoil",
    [
        {"binaryData": {"x": "AA=="}},
        {"data": {DATA_KEY: "", "other": "x"}},
        {"data": None},
        {"data": {"other": ""}},
    ],
)
def test_what_is_beside_the_routes_is_not_as_it_should_be(scene: Scene, spoil: Manifest) -> None:
    scene.book.upsert({**config_map("", version=1), **spoil})
    live = scene.book.live(SHARD)

    assert live is not None
    assert live.text is None


@pytest.mark.parametrize("missing", ["labels", "annotations"])
def test_without_its_labels_and_time_a_config_map_is_not_as_it_should_be(scene: Scene, missing: str) -> None:
    bare = config_map("", version=1)
    del bare["metadata"][missing]
    scene.book.upsert(bare)
    live = scene.book.live(SHARD)

    assert live is not None
    assert live.text is None


def test_a_config_map_of_another_name_is_none_of_ours(scene: Scene) -> None:
    other = config_map("", version=1)
    other["metadata"]["name"] = "mqtt-routes-10"
    scene.book.upsert(other)
    scene.book.delete(other)

    assert scene.shards == []
    assert all(scene.book.live(shard) is None for shard in range(16))


def test_the_loser_of_a_host_is_told_and_told_again_when_it_has_it(scene: Scene) -> None:
    scene.put("first", host="devices.example")
    scene.put("second", host="devices.example")
    assert scene.book.refused == 1
    loser = next(name for name in ("first", "second") if scene.book.readiness(name).stuck)
    winner = "second" if loser == "first" else "first"
    scene.names.clear()

    scene.remove(winner)

    assert loser in scene.names
    assert not scene.book.readiness(loser).stuck
    assert len(scene.lines) == 1


def test_a_hostile_host_is_reported_on_its_instance_alone(scene: Scene) -> None:
    scene.put("acme")
    scene.names.clear()
    scene.put("hostile", host="devices.example\nvictim.example 10.0.0.1")

    assert scene.names == ["hostile"]
    readiness = scene.book.readiness("hostile")
    assert (readiness.ready, readiness.stuck) == (False, True)
    assert "victim" not in readiness.message
    assert scene.lines == [LINE]
    assert (scene.book.routes, scene.book.refused) == (1, 1)
