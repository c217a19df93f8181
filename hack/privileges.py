"""What root may do here: in a container root may be one by name only."""

import shutil
import subprocess

_TRIAL = ("--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt")


def namespaces_refused() -> str:
    """Return what this machine says against new namespaces and a mount in them; "" when it lets us."""
    command = [shutil.which("unshare") or "/usr/bin/unshare", *_TRIAL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else ""
