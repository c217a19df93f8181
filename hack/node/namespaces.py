"""Linux namespaces: made by unshare(1), which then holds them, and entered by nsenter(1).

Network, mounts and processes of a node are in namespaces of their own, so the kernel itself takes all of it back: when
the first process of a process namespace ends, it kills all others, and with the last of them go mounts and network.
"""

import ctypes
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hack.errors import NodeError

# Seconds for the kernel to end all processes of a namespace.
PATIENCE = 15.0
_CLONE_NEWNET = 0x40000000  # linux/sched.h


def unshare_command(program: Path, command: Sequence[str]) -> list[str]:
    """Return how to run `command` as the first process of new namespaces; `program` is a link to unshare."""
    options = ("--net", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc")
    return [str(program), *options, *command]


def nsenter_command(holder: int, command: Sequence[str]) -> list[str]:
    """Return how to run `command` in the namespaces that the process `holder`, an unshare, has made."""
    namespaces = f"/proc/{holder}/ns"
    # The holder itself stays outside of the processes' namespace, which only its child is in.
    options = (f"--net={namespaces}/net", f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children")
    return ["nsenter", *options, "--", *command]


def enter_network(holder: int) -> None:
    """Move this thread into the network of `holder`: what it opens from now on, it opens there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{holder}/ns/net").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def process_namespace(holder: int) -> str:
    """Return what identifies the namespace of the processes that `holder` has made; "" when it has made none (yet)."""
    try:
        made = os.readlink(f"/proc/{holder}/ns/pid_for_children")
    except OSError:  # it has ended
        return ""
    return "" if made == os.readlink("/proc/self/ns/pid") else made


def processes_in(namespace: str) -> list[int]:
    """Return the processes of a namespace, as `process_namespace` identifies it; zombies, too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if os.readlink(entry / "ns" / "pid") == namespace:
                found.append(int(entry.name))
    return found


def wait_for_end(namespace: str) -> None:
    """Wait until no process is left in a namespace whose first process has ended, or has been killed."""
    deadline = time.monotonic() + PATIENCE
    while namespace and processes_in(namespace):
        if time.monotonic() > deadline:
            raise NodeError(f"waited {PATIENCE:g} s for the end of the processes in {namespace}")
        time.sleep(0.02)


def python_command(module: str, *arguments: str) -> list[str]:
    """Return how to run one of our modules."""
    return [sys.executable, "-m", module, *arguments]
