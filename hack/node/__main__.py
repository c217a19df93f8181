"""Command line: `python -m hack.node setup|up|down|status [--name NAME]`."""

import argparse
import sys
from collections.abc import Callable, Sequence

from hack.errors import HackError
from hack.node.cluster import DEFAULT_NAME, NodeCluster, ensure_programs
from hack.node.requirements import missing_requirements
from hack.node.status import node_status
from hack.progress import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 for done (status: all healthy), 1 for failed, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    command: Callable[[str], int] = options.command
    try:
        return command(options.name)
    except HackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything that was started has been ended", file=sys.stderr)
        return 130


def _setup(_: str) -> int:
    """Fetch or build the programs; where no node can run it says so, and that is no failure."""
    if missing := missing_requirements():
        print(f"no real node here: {missing}", file=sys.stderr)
        return 0
    ensure_programs()
    return 0


def _up(name: str) -> int:
    if missing := missing_requirements():
        print(f"error: {missing}", file=sys.stderr)
        return 1
    ensure_programs()  # shows its own progress
    with Progress() as progress:
        cluster = NodeCluster(name, report=progress.step)
        started = cluster.up()
    print(f"node {name!r} {'is up' if started else 'was up already'}")
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    ports = cluster.entrances
    for scheme in ("http", "https"):
        print(f"every Ingress, by its host's name: {scheme}://127.0.0.1:{ports[scheme]}")
    print(f"every broker, by its host's name, once there is a front door: mqtts://127.0.0.1:{ports['mqtts']}")
    return 0


def _down(name: str) -> int:
    existed = NodeCluster(name).down()
    print(f"node {name!r} is down" if existed else f"node {name!r} was not up")
    return 0


def _status(name: str) -> int:
    cluster = NodeCluster(name)
    if not cluster.is_running():
        print(f"node {name!r} is not up; to start it: make node-up NAME={name}")
        return 1
    status = node_status(cluster)
    print(status)
    return 0 if status.healthy else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hack.node", description="A real node on this machine.")
    commands = parser.add_subparsers(required=True, metavar="setup|up|down|status")
    for name, command, told in (
        ("setup", _setup, "fetch or build the programs, where a node can run"),
        ("up", _up, "start control plane and node; they stay until `down`"),
        ("down", _down, "end them and remove their data; the logs stay"),
        ("status", _status, "show components, node and pods; exit code 0 only when all components are healthy"),
    ):
        subparser = commands.add_parser(name, help=told)
        subparser.add_argument("--name", default=DEFAULT_NAME, help="several can run at once (%(default)s)")
        subparser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
