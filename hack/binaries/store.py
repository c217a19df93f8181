"""The cache of binaries: each beside a manifest that tells damage, truncation and an outdated recipe.

A binary enters by rename, after its bytes are on the disk, and its manifest after it; so an interruption at any
moment leaves either nothing or something the manifest does not vouch for.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hack.binaries.catalogue import Program
from hack.paths import cache_root


@dataclass(frozen=True)
class FileStamp:
    """What changes whenever a file is written; the kernel sets the change time, no tool can fake it."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int


@dataclass(frozen=True)
class Manifest:
    """What is known about one binary. `recipe` is None for a download: there the version says it all."""

    sha256: str
    stamp: FileStamp
    recipe: str | None


class BinaryStore:
    """Binaries below a folder, `$XDG_CACHE_HOME/customer-instance-operator/bin` by default."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root() / "bin"

    def path(self, program: Program) -> Path:
        """Return where the binary of `program` belongs."""
        return self.root / f"{program.name}-{program.version}" / program.name

    def problem(self, program: Program, *, thorough: bool = False) -> str | None:
        """Return why the binary cannot be used, None when it can.

        Its SHA-256 is calculated only when the file was touched since it was stored, or when `thorough` is set.
        """
        path = self.path(program)
        if not path.is_file():
            return "missing"
        manifest = _read_manifest(path)
        if manifest is None:
            return "not recorded, so its origin is unknown"
        if manifest.recipe is not None and manifest.recipe != program.recipe:
            return "built by an outdated recipe"
        stamp = read_stamp(path)
        if stamp == manifest.stamp and not thorough:
            return None
        if stamp.size != manifest.stamp.size:
            return f"damaged: {stamp.size} bytes instead of {manifest.stamp.size}"
        if file_sha256(path) != manifest.sha256:
            return "damaged: its SHA-256 has changed"
        _write_manifest(path, replace(manifest, stamp=stamp))
        return None

    def new_file(self, program: Program) -> Path:
        """Return where to write a new binary before `publish`; what an interrupted attempt left there is removed.

        Only the holder of the store's lock may call it.
        """
        path = self.path(program)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.partial")
        temporary.unlink(missing_ok=True)
        return temporary

    def publish(self, program: Program, file: Path, *, built: bool) -> Path:
        """Move the finished `file` into its place and record it; return the place."""
        path = self.path(program)
        file.chmod(0o755)
        _flush(file)
        sha256 = file_sha256(file)
        _manifest_path(path).unlink(missing_ok=True)
        file.replace(path)
        _flush(path.parent)
        recipe = program.recipe if built else None
        _write_manifest(path, Manifest(sha256=sha256, stamp=read_stamp(path), recipe=recipe))
        return path


def read_stamp(path: Path) -> FileStamp:
    """Return the stamp of the file `path`."""
    status = path.stat()
    return FileStamp(
        size=status.st_size, modified_ns=status.st_mtime_ns, changed_ns=status.st_ctime_ns, inode=status.st_ino
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest_path(path: Path) -> Path:
    return path.with_name("manifest.json")


def _read_manifest(path: Path) -> Manifest | None:
    try:
        content = json.loads(_manifest_path(path).read_text(encoding="utf-8"))
        return Manifest(sha256=content["sha256"], stamp=FileStamp(**content["stamp"]), recipe=content["recipe"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _write_manifest(path: Path, manifest: Manifest) -> None:
    target = _manifest_path(path)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.write_text(json.dumps(asdict(manifest), indent=2), encoding="utf-8")
    _flush(temporary)
    temporary.replace(target)


def _flush(path: Path) -> None:
    """Have the kernel write a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
