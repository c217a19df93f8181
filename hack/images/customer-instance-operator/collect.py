"""`python collect.py TARGET`: what this environment's Python needs to run, and nothing else, as the root of an image.

Runs in the build of the image, with the environment that is to be in it, and with the standard library only. Taken
are the environment, the interpreter with its standard library, and every shared library that one of these asks for.
"""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Of the standard library: what serves development, draws windows or installs packages. pip is in site-packages.
_LEFT_OUT = (
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tkinter",
    "turtledemo",
    "site-packages",
    "dist-packages",
)
_IGNORED = shutil.ignore_patterns("__pycache__", "*.a", "config-*", "tests")
# Loaded by name and by nobody's request: glibc needs it to end a thread.
_LOADED_BY_NAME = ("libgcc_s.so.1",)
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_USERS = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n",
    "etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_ELF = b"\x7fELF"


def main() -> None:
    """Fill the folder that the command line names."""
    target = Path(sys.argv[1])
    for folder in ("dev", "etc", "proc", "run", "sys", "tmp", "var/tmp"):
        (target / folder).mkdir(parents=True)
    for folder in ("tmp", "var/tmp"):
        (target / folder).chmod(0o1777)
    trees = [Path(sys.prefix), standard_library()]
    for tree in trees:
        copy_tree(tree, target)
    interpreter = Path(sys.executable).resolve()
    copy_file(Path(sys.executable), target)
    for library in libraries([interpreter, *(file for tree in trees for file in tree.rglob("*.so*"))]):
        copy_file(library, target)
    copy_file(_AUTHORITIES, target)
    copy_file(Path("/etc/os-release"), target)
    for name, content in _USERS.items():
        (target / name).write_text(content, encoding="ascii")
    compile_all(target, trees)


def standard_library() -> Path:
    """Return the folder of the standard library, which is the interpreter's and not the environment's."""
    return Path(os.__file__).resolve().parent


def libraries(files: Iterable[Path]) -> set[Path]:
    """Return every shared library that one of the files needs, by the name the loader opens it by."""
    found: set[Path] = set()
    for file in {file.resolve() for file in files}:
        if file.is_file() and file.open("rb").read(len(_ELF)) == _ELF:
            found.update(_needed_by(file))
    folders = {library.parent for library in found}
    found.update(folder / name for folder in folders for name in _LOADED_BY_NAME if (folder / name).exists())
    return found


def _needed_by(file: Path) -> Iterator[Path]:
    """Read what ldd(1) says: `libz.so.1 => /lib/libz.so.1 (0x…)`, and the loader by its path alone."""
    said = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
    for word in said.split():
        if word.startswith("/"):
            yield Path(word)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder to the same place below the target, without what only development needs."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        own = set(_LEFT_OUT) & set(names) if Path(folder) == standard_library() else set()
        return own | set(_IGNORED(folder, names))

    shutil.copytree(source, inside(source, target), symlinks=True, dirs_exist_ok=True, ignore=ignored)


def copy_file(path: Path, target: Path) -> None:
    """Copy a file to the same place below the target, and with it every link that leads to it."""
    place = inside(path, target)
    if path.is_symlink():
        if not place.is_symlink():
            place.symlink_to(os.readlink(path))
        copy_file(Path(os.path.normpath(path.parent.resolve() / os.readlink(path))), target)
    elif not place.exists():
        shutil.copy2(path, place)


def inside(path: Path, target: Path) -> Path:
    """Return the place of a path below the target, with the folders above it; those that are links, such as /lib, are
    links there too."""
    parent = path.absolute().parent
    for folder in reversed([parent, *parent.parents]):
        link = target / folder.parent.resolve().relative_to("/") / folder.name
        if folder.is_symlink() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.readlink(folder))
    place = target / parent.resolve().relative_to("/")
    place.mkdir(parents=True, exist_ok=True)
    return place / path.name


def compile_all(target: Path, trees: Iterable[Path]) -> None:
    """Compile the modules: with a read-only root nobody can do so later.

    Unchecked, for no source changes in an image, and its time may when it is copied.
    """
    for tree in trees:
        compileall.compile_dir(
            inside(tree, target),
            quiet=2,
            stripdir=str(target),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            workers=0,
        )


if __name__ == "__main__":
    main()
