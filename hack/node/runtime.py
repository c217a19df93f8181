"""Images for the node's pods: docker-archives, given to containerd."""

import subprocess
from collections.abc import Sequence
from typing import IO

from hack.errors import NodeError

NAMESPACE = "k8s.io"  # that of the kubelet's images and containers


def import_image(ctr: Sequence[str], archive: IO[bytes]) -> None:
    """Load the images of one open docker-archive; `ctr` is how to run that program. Raises NodeError."""
    command = [*ctr, "--namespace", NAMESPACE, "images", "import", "-"]
    done = subprocess.run(command, stdin=archive, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"containerd does not take {archive.name}: {done.stderr.strip()}")
