"""`python3 -m hack.setup`: the virtual environment, from pinned and hashed requirements; quick when nothing changed.

Started by whatever Python the machine has, so it uses the standard library only, and nothing newer than Python 3.8
before it has looked at the version.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
REQUIREMENTS = "requirements-dev.txt"
# Fails when pip is missing, tells the version otherwise.
SELF_CHECK = "import sys, importlib.util as u; print(sys.version) if u.find_spec('pip') else sys.exit(1)"


def main() -> int:
    """Make the environment right and return the exit code: 0 for done, 1 for failed, 130 for Ctrl-C."""
    if sys.version_info < OLDEST_PYTHON:
        found, wanted = sys.version.split()[0], ".".join(str(part) for part in OLDEST_PYTHON)
        print(f"error: this is Python {found}, but {wanted} or newer is needed: set PYTHON3", file=sys.stderr)
        return 1
    from hack.errors import HackError

    try:
        set_up_alone(PROJECT_ROOT)
    except HackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


def set_up_alone(root: Path) -> None:
    """Do what `set_up` does while no other process does it for any checkout."""
    from hack.lock import FileLock
    from hack.paths import cache_root

    cache_root().mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache_root() / "setup.lock")
    if not lock.acquire():
        print("waiting for another process that is setting up an environment", file=sys.stderr)
        lock.acquire(wait=True)
    try:
        set_up(root)
    finally:
        lock.release()


def set_up(root: Path) -> None:
    """Create or complete the virtual environment `.venv` in `root`; raises HackError with the cure."""
    from hack.progress import Progress

    environment = root / ".venv"
    python, marker = environment / "bin" / "python", environment / ".setup-complete"
    version = python_version(python)
    if version and marker.exists() and marker.read_text(encoding="ascii") == environment_hash(root, version):
        return
    with Progress() as progress:
        if not version:
            progress.step("creating the virtual environment .venv")
            run([sys.executable, "-m", "venv", "--clear", str(environment)], cure="apt install python3-venv")
        marker.unlink(missing_ok=True)
        progress.step(f"installing {REQUIREMENTS} into .venv")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        run([*pip, "--require-hashes", "--requirement", str(root / REQUIREMENTS)], cure="check the package index")
        progress.step("installing the project itself, editable")
        run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(root)], cure="check pyproject.toml")
    marker.write_text(environment_hash(root, python_version(python)), encoding="ascii")


def environment_hash(root: Path, version: str) -> str:
    """Return the hash of what an environment depends on: requirements, project, its place, the version of Python."""
    result = hashlib.sha256(f"{root}\0{version}".encode())
    for name in (REQUIREMENTS, "pyproject.toml"):
        result.update((root / name).read_bytes())
    return result.hexdigest()


def python_version(python: Path) -> str:
    """Return the version of an environment's interpreter, empty when it does not work.

    What it was made from may have been removed or replaced since.
    """
    try:
        answer = subprocess.run([str(python), "-c", SELF_CHECK], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def run(command: "list[str]", *, cure: str) -> None:
    """Run one step; raises HackError with what it said and the cure when it fails."""
    from hack.errors import HackError

    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise HackError(f"{' '.join(command)} failed ({cure}):\n{done.stdout.strip()}")


if __name__ == "__main__":
    sys.exit(main())
