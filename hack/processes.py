"""Processes told apart safely: a pid alone may have been recycled, a pid with its start time may not."""

import ctypes
import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Seconds between two attempts to kill a process; one is enough unless the kernel keeps it waiting for a disk.
END_PATIENCE = 5.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot: `started` is the boot id and the start time in clock ticks since that boot."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Tell whether exactly this process still runs; a zombie does not."""
        return identify(self.pid) == self

    def send_signal(self, number: signal.Signals) -> bool:
        """Signal exactly this process; return False when it has already ended."""
        descriptor = self._open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait(self, *, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end of the process; return whether it has ended."""
        descriptor = self._open()
        if descriptor is None:
            return True
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            return bool(poller.poll(timeout * 1000))
        finally:
            os.close(descriptor)

    def _open(self) -> int | None:
        """Return a pidfd of this very process: the identity is checked after opening, so recycling cannot slip in."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.is_alive():
            return descriptor
        os.close(descriptor)
        return None


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the running process `pid`, None when there is none (or only its zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the second field is the program's name in parentheses and may hold anything; state is the third
    # field, start time the twenty-second.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return ProcessIdentity(pid=pid, started=f"{boot}:{fields[19]}")


def end_process(process: ProcessIdentity, *, grace: float) -> None:
    """End `process`: SIGTERM, then SIGKILL when it is still there after `grace` seconds. A stopped process is woken."""
    if process.send_signal(signal.SIGTERM):
        process.send_signal(signal.SIGCONT)
        if not process.wait(timeout=grace):
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=grace)


def find_programs(folder: Path) -> dict[str, ProcessIdentity]:
    """Return our own running processes that were started from a file in `folder`, by the file's name.

    Nothing that is recorded anywhere decides, so nothing can be out of date, and no stranger is taken for ours: what a
    process calls itself is its own choice, so only those of this user count.
    """
    prefix = os.fsencode(folder) + b"/"
    found = _find(lambda arguments: arguments[0].startswith(prefix))
    return {os.fsdecode(arguments[0].removeprefix(prefix)): process for process, arguments in found}


def find_commands(arguments: Sequence[str]) -> list[ProcessIdentity]:
    """Return our own running processes whose arguments, behind the program's name, begin with these."""
    wanted = [os.fsencode(argument) for argument in arguments]
    return [process for process, _ in _find(lambda given: given[1 : len(wanted) + 1] == wanted)]


def _find(matches: Callable[[list[bytes]], bool]) -> Iterator[tuple[ProcessIdentity, list[bytes]]]:
    """Yield our own running processes whose arguments, with the program's name first, match; and these."""
    for entry in Path("/proc").glob("[0-9]*"):
        process = identify(int(entry.name))
        with suppress(OSError):  # it has ended meanwhile
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if process and matches(arguments) and _is_ours(entry):
                yield process, arguments


def _is_ours(process: Path) -> bool:
    """Tell whether a process is this user's, and no program that changes its user and was started by another.

    Not by the owner of its folder in /proc, which is root as soon as a process forbids dumps of its memory.
    """
    status = (process / "status").read_text(encoding="utf-8", errors="replace")
    users = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    return set(users) == {str(os.geteuid())}


def end_programs(folder: Path) -> None:
    """Kill everything that was started from `folder`, and what that starts meanwhile, and wait for its end."""
    while found := find_programs(folder):
        for process in found.values():
            process.send_signal(signal.SIGKILL)
        for process in found.values():
            process.wait(timeout=END_PATIENCE)


def resident_mib(pid: int) -> float:
    """Return the memory of a process that is its own or in use, in MiB (proc(5): VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def dying_with_parent() -> Callable[[], None]:
    """Return a `preexec_fn` that has the kernel kill the child as soon as the thread that started it ends.

    Call it, and start the child, from the main thread of the parent: see PR_SET_PDEATHSIG in prctl(2).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            with suppress(ProcessLookupError):
                os.kill(os.getpid(), signal.SIGKILL)

    return ask_kernel
