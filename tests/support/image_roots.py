"""Images unpacked and run as a container would be: namespaces, a read-only root, no privileges, without a runtime."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.images.archive import read_images
from tests.support.servers import PATIENCE, Server

_CAPABILITY = "SCHILY.xattr.security.capability"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TOOLS = ("chroot", "ip", "nsenter", "setpriv", "unshare")

# In namespaces of its own, which end with it. What the kubelet would mount is mounted; everything else is read-only.
_START = r"""
set -eu
root=$1; shift
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/dev" # an image of nothing but a program has neither
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in full null random urandom zero; do
    : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir -m 1777 "$root/dev/shm"
while [ "$1" != -- ]; do
    mkdir -p "$2"; mount --bind "$1" "$2"; shift 2
done; shift
mount -o remount,bind,ro "$root"
ip link set lo up
exec "$@"
"""
_UNSHARE = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--net",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
]


def why_nothing_can_run() -> str | None:
    """Return what this machine lacks for running an image, None when it lacks nothing."""
    if os.geteuid() != 0:
        return "running images needs root"
    missing = [name for name in _TOOLS if not shutil.which(name, path=_PATH)]
    return f"not installed: {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class UnpackedImage:
    """An image's files below `root`, and what it is to be run with (`config` of the OCI image specification)."""

    root: Path
    configuration: Mapping[str, Any]
    size: int
    # Paths of files that give capabilities to whoever runs them; only the layers tell, for unpacking loses them.
    privileged: Sequence[str] = ()

    @property
    def entrypoint(self) -> list[str]:
        """What is always run."""
        return list(self.configuration.get("Entrypoint") or ())

    @property
    def arguments(self) -> list[str]:
        """What is run, or handed to the entry point, unless something else is given."""
        return list(self.configuration.get("Cmd") or ())

    @property
    def environment(self) -> dict[str, str]:
        """The image's own variables."""
        return dict(pair.split("=", 1) for pair in self.configuration.get("Env") or ())

    def files(self) -> dict[str, Path]:
        """Return every regular file by its path in the image."""
        found = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {f"/{path.relative_to(self.root)}": path for path in found}


def unpack(archive: Path, reference: str, target: Path) -> UnpackedImage:
    """Write an image's files to a folder as a runtime does."""
    [image] = [image for image in read_images(archive) if reference in image.references]
    target.mkdir()
    privileged: list[str] = []
    with tarfile.open(archive) as tar:
        for layer in image.layers:
            content = tar.extractfile(layer)
            assert content is not None
            with tarfile.open(fileobj=content) as members:
                _apply(members, target)
                privileged += [f"/{member.name}" for member in members if _CAPABILITY in member.pax_headers]
    return UnpackedImage(root=target, configuration=image.configuration, size=image.size, privileged=privileged)


def _apply(layer: tarfile.TarFile, target: Path) -> None:
    for member in layer:
        path = target / member.name
        if path.name == _OPAQUE:
            for entry in path.parent.iterdir():
                _remove(entry)
        elif path.name.startswith(_WHITEOUT):
            _remove(path.with_name(path.name.removeprefix(_WHITEOUT)))
        else:
            if path.is_symlink() or (path.exists() and not (path.is_dir() and member.isdir())):
                _remove(path)
            layer.extract(member, target, numeric_owner=True, filter="fully_trusted")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Container(Server):
    """An image that runs, with no rights but those of a restricted pod; standard output and errors are its log."""

    def __init__(
        self,
        image: UnpackedImage,
        *,
        user: int,
        environment: Mapping[str, str] | None = None,
        volumes: Mapping[str, Path] | None = None,
        arguments: Sequence[str] | None = None,
    ) -> None:
        """Start it as uid and gid `user`, with `arguments` in place of its Cmd; `volumes` are folders by place."""
        self._environment = {**image.environment, **(environment or {})}
        self._user = user
        places = {_inside(image.root, place): folder for place, folder in (volumes or {}).items()}
        pairs = [str(path) for place, folder in places.items() for path in (folder, place)]
        command = [*image.entrypoint, *(image.arguments if arguments is None else arguments)]
        # Whoever is not root has no capabilities; no file gives any back.
        drop = [_absolute("setpriv"), "--no-new-privs", "--inh-caps=-all"]
        change = [_absolute("chroot"), f"--userspec={user}:{user}", "--groups=", str(image.root)]
        script = ["sh", "-c", _START, "start", str(image.root), *pairs, "--"]
        super().__init__([*_UNSHARE, *script, *self._assign(), *drop, *change, *command], environment={"PATH": _PATH})

    def execute(self, *command: str) -> str:
        """Run a command in it, as `kubectl exec` does; return what it says, AssertionError when it fails."""
        pid = str(self.first_process)
        enter = [
            _absolute("nsenter"),
            "--target",
            pid,
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            f"--root=/proc/{pid}/root",
        ]
        ids = [f"--setuid={self._user}", f"--setgid={self._user}"]
        done = subprocess.run(
            [*self._assign(), *enter, *ids, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fetch(self, port: int, path: str) -> str:
        """Return what it answers to a GET by HTTP on its own 127.0.0.1."""
        code = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=30).read().decode())"
        enter = [_absolute("nsenter"), "--target", str(self.first_process), "--net"]
        done = subprocess.run(
            [*enter, sys.executable, "-c", code, f"http://127.0.0.1:{port}{path}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def first_process(self) -> int:
        """The process id, outside, of what is process 1 in it."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()[0])

    def end(self, number: signal.Signals) -> int:
        """Send a signal to process 1 and return its exit status; unlike `stop`, which ends everything at once."""
        os.kill(self.first_process, number)
        return self.wait()

    def kill(self) -> None:
        """End it and everything in it at once; no harm when it has ended.

        The signal is for the first process itself: that dies with unshare no longer, once it has changed its user
        (PR_SET_PDEATHSIG in prctl(2)).
        """
        with suppress(OSError, IndexError):  # it has ended, or has not begun
            os.kill(self.first_process, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def _assign(self) -> list[str]:
        """Return the beginning of a command that gives what follows the container's environment and no other."""
        return [_absolute("env"), "-i", *(f"{name}={value}" for name, value in self._environment.items())]


def _inside(root: Path, place: str) -> Path:
    """Return where a place of the image is; /var/run there is a link to /run, which must not be this machine's."""
    found = root
    for part in Path(place).parts[1:]:
        found /= part
        if found.is_symlink():
            target = found.readlink()
            found = _inside(root, str(target)) if target.is_absolute() else found.parent / target
    return found


def _absolute(program: str) -> str:
    """Return the path of a program of this machine, which the container's own PATH would not find."""
    found = shutil.which(program, path=_PATH)
    assert found is not None
    return found
