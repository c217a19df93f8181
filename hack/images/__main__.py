"""Command line: `python -m hack.images [NAME...]` makes sure the images are there, and prints where."""

import argparse
import sys
from collections.abc import Iterable, Sequence

from hack.errors import HackError
from hack.images.catalogue import read_catalogue
from hack.images.ensure import ensure_images
from hack.images.requirements import missing_requirements


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code: 0 for done, 1 for failed, 130 for Ctrl-C."""
    try:
        options = _parser().parse_args(arguments)
        if options.if_possible and (missing := missing_requirements()):
            print(f"no images here: {missing}", file=sys.stderr)
            return 0
        for reference, archive in ensure_images(_references(options.names), rebuild=options.rebuild).items():
            print(f"{reference}\t{archive}")
    except HackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def _references(names: Iterable[str]) -> list[str] | None:
    """Return the references that are meant; the name of a folder of hack/images stands for its own."""
    catalogue = read_catalogue()
    return [catalogue[name].reference if name in catalogue else name for name in names] or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hack.images", description="Make sure the images are there.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="references or folders of hack/images (all)")
    parser.add_argument("--if-possible", action="store_true", help="where none can be built say so, and do not fail")
    parser.add_argument("--rebuild", action="store_true", help="build them anew, with Debian's newest packages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
