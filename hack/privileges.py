"""What root may do here: in a container root may be one by name only."""

import shutil
import subprocess
from pathlib import Path

_TRIAL = ("--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt")


def unshare_program() -> Path:
    """Return the unshare command of this machine."""
    return Path(shutil.which("unshare") or "/usr/bin/unshare")


def namespaces_refused() -> str:
    """Return what this machine says against new namespaces and a mount in them; "" when it lets us."""
    command = [str(unshare_program()), *_TRIAL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else ""
