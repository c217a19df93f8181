"""What a process of this machine takes, as the kernel says it (proc(5))."""

import os
from pathlib import Path


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return the memory of a process that is its own or in use, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def machine_load() -> float:
    """Return how many tasks of anybody's wanted a processor in the last minute, on average."""
    return os.getloadavg()[0]
