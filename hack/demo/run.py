"""The course of the demo: start everything, sign up, follow, show, stay."""

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from rich.console import Console

from hack.binaries import ensure_binaries
from hack.cluster import PROGRAMS
from hack.demo import walkthrough
from hack.demo.display import ProgressDisplay, say
from hack.demo.environment import Environment, running_environment
from hack.demo.errors import DemoError
from hack.demo.instance import Snapshot, watch
from hack.demo.signup import EMAIL, Signup, sign_up
from hack.files import log_tail

# Many times what it takes on two idle cores.
INSTANCE_TIMEOUT = 180.0


def run(folder: Path, *, console: Console, once: bool, extra: Mapping[str, str]) -> None:
    """Run the demo with its files in the empty `folder`; unless `once`, stay until interrupted.

    `extra` are further settings of operator and billing API. Raises HackError when anything fails.
    """
    ensure_binaries(PROGRAMS)  # shows its own progress
    with running_environment(folder, extra=extra) as environment:
        signup = _sign_up(environment, console)
        with ProgressDisplay(console, started=signup.started) as display:
            snapshot = _follow(environment, signup, display)
        seconds = time.monotonic() - signup.started
        walkthrough.show_objects(console, environment.cluster, namespace=snapshot.namespace)
        walkthrough.show_addresses(console, snapshot)
        walkthrough.show_what_is_real(console)
        if not once:
            walkthrough.show_what_to_try(console, environment, signup=signup, snapshot=snapshot)
        clock = f"{snapshot.time_to_ready} s by the resource's own clock, status.timeToReadySeconds"
        say(console, f"\nFrom signup to Ready: {seconds:.1f} s ({clock})", style="bold green")
        if not once:
            say(console, "Everything stays up until Ctrl-C.", style="bold")
            with suppress(KeyboardInterrupt):
                environment.wait_ended()
            say(console, "\nending everything")


def _sign_up(environment: Environment, console: Console) -> Signup:
    say(console, f"\nSigning up {EMAIL} at {environment.billing_url}", style="bold")
    signup = sign_up(environment.billing_url)
    answer = f"customer {signup.customer_id}, instance {signup.instance}"
    say(console, f"answered in {signup.seconds * 1000:.0f} ms: {answer}\n")
    return signup


def _follow(environment: Environment, signup: Signup, display: ProgressDisplay) -> Snapshot:
    """Show the instance until it is Ready; return it as it is then."""
    name, deadline = signup.instance, time.monotonic() + INSTANCE_TIMEOUT
    with closing(watch(environment.cluster, name)) as snapshots:
        for snapshot in snapshots:
            environment.check()
            display.show(snapshot)
            if snapshot.phase == "Ready":
                return snapshot
            if snapshot.phase == "Failed":
                raise DemoError(f"customerinstance {name} has failed: {snapshot.message}\n{_suspect(environment)}")
            if time.monotonic() > deadline:
                break
    raise DemoError(f"customerinstance {name} is not Ready after {INSTANCE_TIMEOUT:.0f} s\n{_suspect(environment)}")


def _suspect(environment: Environment) -> str:
    """Return the last words of the component that is not healthy, or else of the operator."""
    ill = (status.name for status in environment.cluster.status() if not status.healthy)
    name = next(ill, environment.operator.program.name)
    return log_tail(environment.cluster.files.logs / f"{name}.log")
