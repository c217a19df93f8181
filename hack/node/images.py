"""The images that a node brings along, made of single static programs: nothing is ever pulled."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hack.errors import NodeError
from hack.node.archive import Image, write_archive

# The tag is not the version: containerd never fetches what it has, and it has nothing else.
PAUSE = "localhost/pause:node"
BUSYBOX = "localhost/busybox:node"
# Programs of the catalogue that run in pods; manifests/*.yaml name these images.
ADDON_PROGRAMS = ("coredns", "ingress-controller", "local-path-provisioner")
_PAUSE_SOURCE = Path(__file__).with_name("pause.c")


def write_images(folder: Path, programs: Mapping[str, Path]) -> list[Path]:
    """Write the archives of the node's own images to `folder`; raises NodeError."""
    images = [_pause(folder), _busybox(), *(_addon(name, programs[name]) for name in ADDON_PROGRAMS)]
    return [write_archive(image, folder / f"{number}.tar") for number, image in enumerate(images)]


def _pause(folder: Path) -> Image:
    program = folder / "pause"
    command = ["gcc", "-static", "-Os", "-s", "-o", str(program), str(_PAUSE_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return Image(PAUSE, files={"/pause": program}, entrypoint=["/pause"])


def _busybox() -> Image:
    found = shutil.which("busybox")
    if found is None:
        raise NodeError("there is no busybox: make system-packages")
    program = Path(found)
    said = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    applets = {f"/bin/{name}": "busybox" for name in said.stdout.split() if name != "busybox"}
    return Image(BUSYBOX, files={"/bin/busybox": program}, links=applets, entrypoint=["/bin/sh"])


def _addon(name: str, program: Path) -> Image:
    return Image(f"localhost/{name}:node", files={f"/{name}": program}, entrypoint=[f"/{name}"])
