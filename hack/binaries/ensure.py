"""The order of sources: a folder the user gives, the cache, a verified download, a build from source."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from hack.binaries.build import build
from hack.binaries.catalogue import Program, read_catalogue
from hack.binaries.download import download, probe
from hack.binaries.store import BinaryStore
from hack.binaries.toolchain import Toolchain, find_toolchain
from hack.errors import BinaryError
from hack.lock import FileLock
from hack.progress import Progress

SOURCES = ("auto", "download", "build")
SELF_CHECK_TIMEOUT = 30.0


def ensure_binaries(
    names: Iterable[str],
    *,
    catalogue: Mapping[str, Program] | None = None,
    store: BinaryStore | None = None,
    thorough: bool = False,
) -> dict[str, Path]:
    """Return the executables by name; what is missing, outdated or damaged is fetched first, with progress shown.

    BINARIES_DIR names a folder whose programs are used as they are; BINARIES_SOURCE may be `download` or `build`
    to forbid the other. With `thorough` every cached file is read and its checksum compared. Raises BinaryError.
    """
    programs, wanted = catalogue or read_catalogue(), tuple(names)
    if unknown := set(wanted) - set(programs):
        raise BinaryError(f"unknown program {', '.join(sorted(unknown))}: there are {', '.join(programs)}")
    given = {name: path for name in wanted if (path := given_path(programs[name]))}
    cached = [program for name, program in programs.items() if name in wanted and name not in given]
    binaries = store or BinaryStore()
    if any(binaries.problem(program, thorough=thorough) for program in cached):
        _repair(cached, store=binaries, thorough=thorough)
    return {name: given.get(name) or binaries.path(programs[name]) for name in wanted}


def given_path(program: Program) -> Path | None:
    """Return the program in the folder BINARIES_DIR, None when there is none; raises BinaryError when it is no use."""
    folder = os.environ.get("BINARIES_DIR", "")
    path = Path(folder).absolute() / program.name
    if not folder or not path.exists():
        return None
    _check_once(program, path)
    return path


def check_version(program: Program, path: Path) -> None:
    """Run the program once to see that it works here and is the pinned version; raises BinaryError when not."""
    try:
        done = subprocess.run(
            [path, *program.version_arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SELF_CHECK_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BinaryError(f"{path} cannot be executed: {error}") from error
    if done.returncode:
        raise BinaryError(f"{path} cannot tell its version: exit code {done.returncode}\n{done.stderr.strip()}")
    number = re.escape(program.version.removeprefix("v"))
    said = done.stdout + done.stderr  # the plugins of a network tell it there
    if not re.search(rf"(?<![\d.]){number}(?![\w.-])", said):
        raise BinaryError(f"{path} is not {program.name} {program.version} but: {said.strip()}")


_check_once = cache(check_version)


def _repair(programs: list[Program], *, store: BinaryStore, thorough: bool) -> None:
    """Fetch what is not right; another process may be doing the same, so all is looked at again under the lock."""
    source = _chosen_source()
    store.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.root / "lock")
    with Progress() as progress:
        if not lock.acquire():
            progress.step("waiting for another process that is fetching the same programs")
            lock.acquire(wait=True)
        try:
            wanted = _list_problems(programs, store=store, thorough=thorough, progress=progress)
            _fetch(wanted, source=source, store=store, progress=progress)
        finally:
            lock.release()


def _list_problems(programs: list[Program], *, store: BinaryStore, thorough: bool, progress: Progress) -> list[Program]:
    wanted = []
    for program in programs:
        if problem := store.problem(program, thorough=thorough):
            progress.note(f"{program.name} {program.version} is {problem}")
            wanted.append(program)
    return wanted


def _fetch(programs: list[Program], *, source: str, store: BinaryStore, progress: Progress) -> None:
    remaining = programs if source == "build" else _download_all(programs, store=store, progress=progress)
    if remaining and source == "download":
        names = ", ".join(program.name for program in remaining)
        raise BinaryError(f"BINARIES_SOURCE=download, but there is no usable release of {names}")
    _build_all(remaining, store=store, progress=progress)


def _chosen_source() -> str:
    source = os.environ.get("BINARIES_SOURCE", "") or "auto"
    if source not in SOURCES:
        raise BinaryError(f"BINARIES_SOURCE={source}: use one of {', '.join(SOURCES)}")
    return source


def _download_all(programs: list[Program], *, store: BinaryStore, progress: Progress) -> list[Program]:
    """Download what can be downloaded; return the rest."""
    if not programs:
        return []
    progress.step("looking for official releases")
    checksums = probe(programs)
    remaining = []
    for program in programs:
        if program.download is None or program.name not in checksums:
            remaining.append(program)
            continue
        progress.step(f"downloading {program.name} {program.version}")
        target = store.new_file(program)
        try:
            download(program.download, sha256=checksums[program.name], target=target, on_bytes=progress.megabytes)
            _finish(program, target, store=store, built=False)
        except BinaryError as error:
            progress.note(str(error))
            remaining.append(program)
    return remaining


def _build_all(programs: list[Program], *, store: BinaryStore, progress: Progress) -> None:
    if not programs:
        return
    toolchain = find_toolchain(report=progress.step)
    names = ", ".join(program.name for program in programs)
    minutes = sum(program.build_seconds for program in programs) / 60
    progress.note(
        f"to build from source, once: {names}; about {minutes:.0f} min on two cores "
        "when nothing of them has been compiled before"
    )
    for program in programs:
        _build_one(program, toolchain=toolchain, store=store, progress=progress)


def _build_one(program: Program, *, toolchain: Toolchain, store: BinaryStore, progress: Progress) -> None:
    progress.step(f"building {program.name} {program.version} (cold: {program.build_seconds} s)")
    target = store.new_file(program)
    build(program, toolchain=toolchain, target=target, on_package=progress.packages)
    _finish(program, target, store=store, built=True)


def _finish(program: Program, target: Path, *, store: BinaryStore, built: bool) -> None:
    target.chmod(0o755)
    check_version(program, target)
    store.publish(program, target, built=built)
