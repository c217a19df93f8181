"""The course of the demo on simulated nodes: start everything, sign up, follow, show, stay."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from hack.binaries import ensure_binaries
from hack.cluster import PROGRAMS
from hack.demo import walkthrough
from hack.demo.display import ProgressDisplay
from hack.demo.environment import Environment, running_environment
from hack.demo.follow import follow
from hack.demo.instance import Snapshot
from hack.demo.signup import Signup, sign_up
from hack.demo.text import say
from hack.files import log_tail

# Many times what it takes on two idle cores.
INSTANCE_TIMEOUT = 180.0


def run(folder: Path, *, console: Console, once: bool, extra: Mapping[str, str]) -> None:
    """Run the demo with its files in the empty `folder`; unless `once`, stay until interrupted.

    `extra` are further settings of operator and billing API. Raises HackError when anything fails.
    """
    ensure_binaries(PROGRAMS)  # shows its own progress
    with running_environment(folder, extra=extra) as environment:
        walkthrough.show_signup(console, environment.billing_url)
        signup = sign_up(environment.billing_url)
        walkthrough.show_answer(console, signup)
        with ProgressDisplay(console, started=signup.started) as display:
            snapshot = _follow(environment, signup, display)
        seconds = time.monotonic() - signup.started
        walkthrough.show_objects(console, environment.cluster, namespace=snapshot.namespace)
        walkthrough.show_addresses(console, snapshot)
        walkthrough.show_what_is_real(console)
        if not once:
            walkthrough.show_what_to_try(console, environment, signup=signup, snapshot=snapshot)
        walkthrough.show_seconds(console, snapshot, seconds=seconds)
        if not once:
            say(console, "Everything stays up until Ctrl-C.", style="bold")
            with suppress(KeyboardInterrupt):
                environment.wait_ended()
            say(console, "\nending everything")


def _follow(environment: Environment, signup: Signup, display: ProgressDisplay) -> Snapshot:
    return follow(
        environment.cluster,
        signup.instance,
        display,
        timeout=INSTANCE_TIMEOUT,
        check=environment.check,
        suspect=lambda: _suspect(environment),
    )


def _suspect(environment: Environment) -> str:
    """Return the last words of the component that is not healthy, or else of the operator."""
    ill = (status.name for status in environment.cluster.status() if not status.healthy)
    name = next(ill, environment.operator.program.name)
    return log_tail(environment.cluster.files.logs / f"{name}.log")
