"""Shows an instance until it is Ready."""

import time
from collections.abc import Callable
from contextlib import closing

from hack.cluster import LocalCluster
from hack.demo.display import ProgressDisplay
from hack.demo.errors import DemoError
from hack.demo.instance import Snapshot, watch


def follow(
    cluster: LocalCluster,
    name: str,
    display: ProgressDisplay,
    *,
    timeout: float,
    check: Callable[[], None],
    suspect: Callable[[], str],
) -> Snapshot:
    """Show the instance `name` until it is Ready; return it as it is then.

    `check` is called at least once a second and raises DemoError when waiting is no use any more. Raises DemoError
    when the instance fails, or is not Ready in `timeout` seconds, with what `suspect` says of the cause.
    """
    deadline = time.monotonic() + timeout
    with closing(watch(cluster, name)) as snapshots:
        for snapshot in snapshots:
            check()
            display.show(snapshot)
            if snapshot.phase == "Ready":
                return snapshot
            if snapshot.phase == "Failed":
                raise DemoError(f"customerinstance {name} has failed: {snapshot.message}\n{suspect()}")
            if time.monotonic() > deadline:
                break
    raise DemoError(f"customerinstance {name} is not Ready after {timeout:.0f} s\n{suspect()}")
