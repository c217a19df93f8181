"""The course of the demo on a real node: a signup, a Ready stack, a device and its reading, and what it all takes."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from hack.demo import node_walkthrough, walkthrough
from hack.demo.display import ProgressDisplay
from hack.demo.errors import DemoError
from hack.demo.follow import follow
from hack.demo.measuring import measure
from hack.demo.node_environment import NodeEnvironment, running_node
from hack.demo.signup import sign_up
from hack.demo.text import say
from hack.platform import CustomerStack
from hack.platform.customer import readings, register
from hack.platform.device import Device, Login

# Many times what it takes on two idle cores.
INSTANCE_TIMEOUT = 300.0
ARRIVAL_TIMEOUT = 60.0
PAUSE = 0.1

DEVICE = "thermometer"
TOPIC = f"t/{DEVICE}/temperature"
READING = 21.5


def run_on_node(folder: Path, *, console: Console, once: bool) -> None:
    """Run the demo with its files in the empty `folder`; unless `once`, stay until interrupted.

    Raises HackError when anything fails.
    """
    with running_node(folder) as environment:
        walkthrough.show_signup(console, environment.billing_url)
        signup = sign_up(environment.billing_url)
        walkthrough.show_answer(console, signup)
        with ProgressDisplay(console, started=signup.started) as display:
            snapshot = follow(
                environment.node.control_plane,
                signup.instance,
                display,
                timeout=INSTANCE_TIMEOUT,
                check=environment.check,
                suspect=environment.suspect,
            )
        seconds = time.monotonic() - signup.started
        node_walkthrough.show_objects(console, environment.node, namespace=snapshot.namespace)
        node_walkthrough.show_stages(console, snapshot)
        walkthrough.show_seconds(console, snapshot, seconds=seconds)
        customer = CustomerStack(cluster=environment.node, name=signup.instance)
        _show_device(console, environment, customer)
        node_walkthrough.show_what_is_real(console)
        if not once:
            node_walkthrough.show_what_to_try(console, environment, signup=signup, customer=customer)
            say(console, "\nEverything stays up until Ctrl-C.", style="bold")
            with suppress(KeyboardInterrupt):
                environment.wait_ended()
        say(console, "\nending everything")


def _show_device(console: Console, environment: NodeEnvironment, customer: CustomerStack) -> None:
    """Let a device measure something, show that it has arrived, and what the stack has used meanwhile."""
    say(console, f"\nRegistering the device {DEVICE} by the stack's API", style="bold")
    with customer.devices() as client:
        login = register(client, DEVICE)
        say(console, f"it logs in as {login.username}, by the front door, and asks for {customer.mqtt_host} there")
        _publish_one(customer, login)
        say(console, f"{TOPIC} {READING}: published, and acknowledged by the broker")
        seconds = _await(lambda: READING in readings(client, DEVICE), what=f"the reading {READING} in the API")
        say(console, f"seen by the API after {seconds:.1f} s: {readings(client, DEVICE)}")
    say(console, f"in Postgres: {_stored(customer)} row in the table readings")
    with customer.device(login) as device:
        measured = measure(environment.node, customer, work=lambda until: _publish_until(device, until))
    _await(lambda: _stored(customer) > measured.count, what=f"{measured.count} readings in the database")
    node_walkthrough.show_amounts(console, measured, stored=_stored(customer))
    # The latest, for whoever opens the dashboard.
    _publish_one(customer, login)


def _publish_one(customer: CustomerStack, login: Login) -> None:
    with customer.device(login) as device:
        device.publish(TOPIC, str(READING))


def _publish_until(device: Device, until: float) -> int:
    """Publish one reading after the other until a time of the monotonic clock; return how many."""
    count = 0
    while time.monotonic() < until:
        device.publish(TOPIC, f"{READING + count % 10 / 10:.1f}")
        count += 1
    return count


def _stored(customer: CustomerStack) -> int:
    return int(customer.sql("SELECT count(*) FROM readings"))


def _await(condition: Callable[[], bool], *, what: str) -> float:
    """Wait until a condition holds; return how long that took, in seconds. Raises DemoError."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > ARRIVAL_TIMEOUT:
            raise DemoError(f"{what}: not seen within {ARRIVAL_TIMEOUT:.0f} s")
        time.sleep(PAUSE)
    return time.monotonic() - began
