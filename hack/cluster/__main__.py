"""Command line: `python -m hack.cluster up|down|status [--name NAME]`."""

import argparse
import sys
from collections.abc import Callable, Sequence

from hack.binaries import ensure_binaries
from hack.cluster.configuration import PROGRAMS, Settings
from hack.cluster.local import DEFAULT_NAME, LocalCluster
from hack.cluster.status import format_table
from hack.errors import HackError
from hack.progress import Progress

DEFAULTS = Settings()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 for done (status: all healthy), 1 for failed, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except HackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything that was started has been ended", file=sys.stderr)
        return 130


def _up(options: argparse.Namespace) -> int:
    settings = Settings(nodes=options.nodes, start_delay=options.start_delay, audit=options.audit)
    ensure_binaries(PROGRAMS)  # shows its own progress
    with Progress() as progress:
        cluster = LocalCluster(options.name, settings=settings, report=progress.step)
        started = cluster.up()
    print(f"cluster {options.name!r} {'is up' if started else 'was up already'}")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(options: argparse.Namespace) -> int:
    existed = LocalCluster(options.name).down()
    print(f"cluster {options.name!r} is down" if existed else f"cluster {options.name!r} was not up")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = LocalCluster(options.name)
    if not cluster.files.has_data():
        print(f"cluster {options.name!r} is not up; to start it: make cluster-up")
        return 1
    statuses = cluster.status()
    print(format_table(statuses))
    return 0 if all(status.healthy for status in statuses) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hack.cluster", description="A local Kubernetes control plane.")
    commands = parser.add_subparsers(required=True, metavar="up|down|status")
    up = commands.add_parser("up", help="start the cluster, or repair it; it stays until `down`")
    up.add_argument(
        "--nodes",
        type=int,
        default=DEFAULTS.nodes,
        help="simulated nodes, at least (%(default)s); 70 take 1,000 customers",
    )
    up.add_argument(
        "--start-delay",
        type=float,
        default=DEFAULTS.start_delay,
        help="seconds from scheduled to Ready (%(default)s)",
    )
    up.add_argument("--audit", action="store_true", help="let the API server log every request, without bodies")
    up.set_defaults(command=_up)
    down = commands.add_parser("down", help="end the cluster and remove its data; the logs stay")
    down.set_defaults(command=_down)
    status = commands.add_parser("status", help="show the components; exit code 0 only when all are healthy")
    status.set_defaults(command=_status)
    for command in (up, down, status):
        command.add_argument("--name", default=DEFAULT_NAME, help="several clusters can run at once (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
