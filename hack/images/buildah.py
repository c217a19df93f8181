"""buildah with a storage of its own: no daemon, no registry, nothing of the machine's containers touched."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from hack.files import write_private
from hack.images.machine import Mount
from hack.images.sandbox import Sandbox

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# Nothing is ever pulled from a registry; archives of our own carry no signatures.
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


class Buildah:
    """Builds images in `folder`, which its owner removes afterwards."""

    def __init__(self, folder: Path, *, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._policy = write_private(folder / "policy.json", json.dumps(_POLICY))

    def load(self, archive: Path, reference: str) -> None:
        """Make the image `reference` of an archive known to this storage; raises ImageError."""
        self._run("pull", str(self._policy), f"docker-archive:{archive}:{reference}")

    def build(
        self,
        context: Path,
        reference: str,
        *,
        arguments: Mapping[str, str],
        mounts: list[Mount],
        on_line: Callable[[str], None],
    ) -> None:
        """Build the Containerfile of a context; raises ImageError."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        options += [f"--volume={mount.outside}:{mount.inside}:ro" for mount in mounts]
        self._run(
            "build",
            str(self._policy),
            "--pull-never",
            # One copy of all files at the end, and not one for every line.
            "--layers=false",
            f"--tag={reference}",
            *options,
            str(context),
            on_line=on_line,
        )

    def save(self, reference: str, archive: Path) -> None:
        """Write an image to an archive of its own, replacing what is there; raises ImageError."""
        archive.unlink(missing_ok=True)
        self._run("push", str(self._policy), reference, f"docker-archive:{archive}:{reference}")

    def _run(self, command: str, policy: str, *words: str, on_line: Callable[[str], None] | None = None) -> None:
        self._sandbox.run("buildah", command, f"--signature-policy={policy}", *words, on_line=on_line)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of everything that is run for a build: storage in `folder`, and the machine's proxies."""
    storage = f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": _PATH,
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(temporary),
        # No user namespace, no network of its own, and no file system that the kernel may not have.
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_STORAGE_CONF": str(write_private(folder / "storage.conf", storage)),
        "CONTAINERS_REGISTRIES_CONF": str(write_private(folder / "registries.conf", "")),
        **{name: os.environ[name] for name in _PROXIES if name in os.environ},
    }
