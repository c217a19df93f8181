"""Command line: `python -m hack.demo [--node] [--once] [--set NAME=VALUE]`."""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from hack.demo.node_run import run_on_node
from hack.demo.run import run
from hack.errors import HackError

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code: 0 for done, 1 for failed, 130 when it was interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.node and options.set:
        parser.error("--set is for the demo without --node; on a node settings are those of manifests/overlays/node")
    for number in ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    # Short, and not in the cache: PostgreSQL's socket has a path of 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="iotistic-demo-"))
    try:
        console = Console(soft_wrap=True)
        if options.node:
            run_on_node(folder, console=console, once=options.once)
        else:
            run(folder, console=console, once=options.once, extra=dict(options.set))
    except HackError as error:
        print(f"error: {error}", file=sys.stderr)
        print(f"all files of this run are kept in {folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        code = 130
    else:
        code = 0
    shutil.rmtree(folder, ignore_errors=True)
    return code


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind the stack, which ends everything, undisturbed by whoever loses patience."""
    for ending in ENDING_SIGNALS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.demo", description="From a signup to a customer's Ready stack, on this machine."
    )
    parser.add_argument(
        "--node",
        action="store_true",
        help="on a real node, whose pods truly run, instead of simulated ones; needs root",
    )
    parser.add_argument("--once", action="store_true", help="end when the stack is Ready, instead of at Ctrl-C")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_setting,
        help="a further setting of operator and billing API; may be given several times",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
