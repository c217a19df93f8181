"""What is published, or done to the map, with no good in mind: it becomes no command, and harms no other route."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mqtt_router import routes
from tests.services.router.conftest import HOSTS, front_doors, live, stop_router, ways
from tests.support.front_door import FrontDoor, RouterProcess, Tenant
from tests.support.kubernetes import Kubernetes
from tests.support.shards import Publisher
from tests.support.waiting import eventually

ACME, *_ = HOSTS
# What a line could try to be: a second line, a second command, a comment, another form, too much.
HOSTILE = (
    "evil.example.com 127.0.0.2:8883; disable frontend mqtt_tls",
    "evil.example.com 127.0.0.2:8883\\ndel map x",
    "evil.example.com 127.0.0.2:8883\r",
    "evil.example.com 127.0.0.2/8883",
    "evil.example.com\t127.0.0.2:8883",
    "evil.example.com  127.0.0.2:8883",
    "<<",
    "# nothing",
    "*.example.com 127.0.0.2:8883",
    "evil.example.com 127.0.0.2:0",
    "evil.example.com 127.0.0.2:88830",
    "evil.example.com metadata.internal:80",
    "evil.example.com 169.254.169.254:80",
    "evil.example.com 10.0.0.1:8883",
    "x" * 70_000,
)


class Steady:
    """A front door with its router that several tests use."""

    def __init__(self, door: FrontDoor, router: RouterProcess, publisher: Publisher) -> None:
        self.door, self.router, self.publisher = door, router, publisher


@pytest.fixture(scope="module")
def steady(kubeconfig: Path, api: Kubernetes) -> Iterator[Steady]:
    publisher = Publisher(api)
    with front_doors() as make, ExitStack() as cleanup:
        door = make()
        door.write()
        door.start()
        publisher.publish()
        cleanup.callback(publisher.remove_all)
        router = RouterProcess(door, KUBECONFIG=str(kubeconfig), COMPARE_INTERVAL="0.2")
        cleanup.callback(stop_router, router.server)
        router.wait_until_ready()
        yield Steady(door, router, publisher)


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: ascii(line)[:40])
async def test_a_hostile_line_becomes_no_command_and_harms_no_other_line(
    steady: Steady, brokers: dict[str, Tenant], line: str
) -> None:
    number = routes.shard_of(ACME)
    before = steady.router.metric("mqtt_router_errors_total", what="line")

    steady.publisher.write(number, f"{line}\n{brokers[ACME].route}\nlast line without an end")
    await eventually(lambda: steady.router.metric("mqtt_router_errors_total", what="line") >= before + 2)
    await eventually(lambda: steady.door.entries() == live(brokers[ACME].route))

    assert steady.router.unready() == ""


MEDDLING: dict[str, Callable[[FrontDoor], str]] = {
    "deleted": lambda door: f"del map {door.map_file} {ACME}",
    "set to another value": lambda door: f"set map {door.map_file} {ACME} 127.0.0.99/1",
    "added twice": lambda door: f"add map {door.map_file} {ACME} 127.0.0.99/1",
    "added for nobody": lambda door: f"add map {door.map_file} evil.example.com 127.0.0.99/1",
    "added with a name that could be a command": lambda door: f"add map {door.map_file} evil<<x 127.0.0.99/1",
    "cleared": lambda door: f"clear map {door.map_file}",
}


@pytest.mark.parametrize("how", MEDDLING)
async def test_a_map_that_somebody_else_has_changed_is_put_right(
    steady: Steady, brokers: dict[str, Tenant], how: str
) -> None:
    door = steady.door
    steady.publisher.publish(*ways(brokers))
    await eventually(lambda: door.entries() == live(*ways(brokers)))

    door.ask(MEDDLING[how](door))

    await eventually(lambda: door.shown() == sorted(live(*ways(brokers)).items()))
    assert steady.router.unready() == ""
