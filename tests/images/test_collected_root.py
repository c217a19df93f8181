"""What is collected for the product's image is complete, for any Python: here for the one that runs the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

from hack.images.catalogue import FOLDER, PRODUCT
from tests.support.image_roots import Container, UnpackedImage, why_nothing_can_run

COLLECT = FOLDER / PRODUCT / "collect.py"
# All of it is there, and no more is asked of the outside than the kernel.
PROGRAM = """
import bz2, ctypes, decimal, hashlib, json, lzma, multiprocessing, socket, sqlite3, ssl, sys, zlib, here
assert not [name for name in ("ensurepip", "idlelib", "pip") if __import__("importlib.util").util.find_spec(name)]
assert ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt").get_ca_certs()
print(here.ANSWER, sys.prefix, json.__cached__.endswith(".pyc") and __import__("os").path.exists(json.__cached__))
"""


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    if reason := why_nothing_can_run():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("collected")
    environment, root = folder / "environment", folder / "root"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    [packages] = (environment / "lib").glob("python*/site-packages")
    (packages / "here.py").write_text("ANSWER = 42\n", encoding="utf-8")
    subprocess.run([python, COLLECT, root], check=True)
    return UnpackedImage(root=root, configuration={"Env": [f"PATH={python.parent}"]}, size=0)


def test_it_runs_with_nothing_of_this_machine(collected: UnpackedImage) -> None:
    container = Container(collected, user=10001, arguments=["python", "-W", "error", "-c", PROGRAM])
    assert container.wait() == 0, container.log
    assert container.log.startswith("42 ")
    assert container.log.endswith(" True\n")


def test_it_has_no_shell_and_no_other_program(collected: UnpackedImage) -> None:
    programs = {path for path in collected.files() if Path(path).parent.name in {"bin", "sbin"}}
    assert {path for path in programs if "/environment/" not in path and "/python" not in path} == set()
    assert programs


def test_scratch_folders_are_for_everybody(collected: UnpackedImage) -> None:
    assert (collected.root / "tmp").stat().st_mode & 0o7777 == 0o1777
