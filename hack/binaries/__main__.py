"""Command line: `python -m hack.binaries [NAME...]` makes sure the programs are there, and prints where."""

import argparse
import sys
from collections.abc import Sequence

from hack.binaries.catalogue import read_catalogue
from hack.binaries.ensure import ensure_binaries
from hack.errors import HackError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code: 0 for done, 1 for failed, 130 for Ctrl-C."""
    try:
        options = _parser().parse_args(arguments)
        names = options.names or list(read_catalogue())
        for path in ensure_binaries(names, thorough=options.verify).values():
            print(path)
    except HackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.binaries", description="Make sure the programs of the local control plane are there."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which programs (all of them)")
    parser.add_argument("--verify", action="store_true", help="compare the checksum of every cached program")
    return parser


if __name__ == "__main__":
    sys.exit(main())
