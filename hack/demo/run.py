"""The course of the demo: start everything, sign up, follow, show, stay."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from rich.console import Console

from hack.binaries import ensure_binaries
from hack.cluster import PROGRAMS
from hack.cluster.launch import log_tail
from hack.demo import tour
from hack.demo.errors import DemoError
from hack.demo.instance import Snapshot, watch
from hack.demo.signup import EMAIL, Signup, sign_up
from hack.demo.stand import Stand, standing
from hack.demo.view import View, say

# Many times what it takes on two idle cores.
INSTANCE_TIMEOUT = 180.0


def run(folder: Path, *, console: Console, once: bool, extra: Mapping[str, str]) -> None:
    """Run the demo with its files in the empty `folder`; unless `once`, stay until interrupted.

    `extra` are further settings of operator and billing API. Raises HackError when anything fails.
    """
    ensure_binaries((*PROGRAMS, "kubectl"))  # shows its own progress
    with standing(folder, extra=extra) as stand:
        signup = _sign_up(stand, console)
        with View(console, started=signup.started) as view:
            snapshot = asyncio.run(_follow(stand, signup, view))
        seconds = time.monotonic() - signup.started
        tour.show_objects(console, stand.cluster, namespace=snapshot.namespace)
        tour.show_addresses(console, snapshot)
        tour.show_what_is_real(console)
        if not once:
            tour.show_what_to_try(console, stand, signup=signup, snapshot=snapshot)
        clock = f"{snapshot.time_to_ready} s by the resource's own clock, status.timeToReadySeconds"
        say(console, f"\nFrom signup to Ready: {seconds:.1f} s ({clock})", style="bold green")
        if not once:
            say(console, "Everything stays up until Ctrl-C.", style="bold")
            with suppress(KeyboardInterrupt):
                asyncio.run(stand.guard(asyncio.Event().wait()))
            say(console, "\nending everything")


def _sign_up(stand: Stand, console: Console) -> Signup:
    say(console, f"\nSigning up {EMAIL} at {stand.billing_url}", style="bold")
    signup = sign_up(stand.billing_url)
    answer = f"customer {signup.customer_id}, instance {signup.instance}"
    say(console, f"answered in {signup.seconds * 1000:.0f} ms: {answer}\n")
    return signup


async def _follow(stand: Stand, signup: Signup, view: View) -> Snapshot:
    """Show the instance until it is Ready; return it as it is then."""
    try:
        return await stand.guard(_until_ready(stand, signup.instance, view), timeout=INSTANCE_TIMEOUT)
    except TimeoutError as error:
        raise DemoError(
            f"customerinstance {signup.instance} is not Ready after {INSTANCE_TIMEOUT:.0f} s\n{_suspect(stand)}"
        ) from error


async def _until_ready(stand: Stand, name: str, view: View) -> Snapshot:
    async with aclosing(watch(stand.cluster, name)) as snapshots:
        async for snapshot in snapshots:
            view.show(snapshot)
            if snapshot.phase == "Failed":
                raise DemoError(f"customerinstance {name} has failed: {snapshot.message}\n{_suspect(stand)}")
            if snapshot.phase == "Ready":
                return snapshot
    raise DemoError(f"the API server has ended the watch of customerinstance {name}")


def _suspect(stand: Stand) -> str:
    """Return the last words of the component that is not healthy, or else of the operator."""
    ill = (status.name for status in stand.cluster.status() if not status.healthy)
    return log_tail(stand.cluster.files, next(ill, stand.operator.program.name))
