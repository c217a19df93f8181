"""What is in the images, and what must not be."""

import re

import pytest

from hack.images import machine
from hack.images.catalogue import PRODUCT, PRODUCT_VERSION, read_catalogue
from tests.images.conftest import GetImage

FOR_CLUSTERS = [name for name in read_catalogue() if name not in {"debian", "python"}]
OWN = [PRODUCT, "api", "dashboard"]
MEGABYTES = 1_000_000

SHELLS = re.compile(r"^/(usr/)?(local/)?s?bin/(ba|da|a|z|k|fi)?sh$|/busybox$")
BUILDERS = re.compile(r"/(gcc|cc|c\+\+|g\+\+|clang|ld|as|make|go|rustc)(-[\d.]+)?$|/x86_64-linux-gnu-")
INSTALLERS = re.compile(
    r"/(apt|apt-get|dpkg|apk|pip3?|easy_install|uv)$|/(pip|ensurepip|setuptools|wheel)/__init__\.py$"
)


def matching(pattern: re.Pattern[str], paths: object) -> list[str]:
    return sorted(path for path in map(str, paths) if pattern.search(path))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", FOR_CLUSTERS)
def test_it_is_small_names_a_numeric_user_and_says_what_it_is(image: GetImage, name: str) -> None:
    unpacked = image(name)
    assert unpacked.size < 200 * MEGABYTES
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", unpacked.configuration["User"])
    assert unpacked.configuration["Labels"]["org.opencontainers.image.title"]
    assert unpacked.configuration["Labels"]["org.opencontainers.image.licenses"]


@pytest.mark.parametrize("name", FOR_CLUSTERS)
def test_nobody_gains_rights_by_running_a_file_of_it(image: GetImage, name: str) -> None:
    unpacked = image(name)
    files = unpacked.files()
    assert files
    assert [path for path, file in files.items() if file.stat().st_mode & 0o6000] == []
    assert unpacked.privileged == []


@pytest.mark.parametrize("name", FOR_CLUSTERS)
def test_it_holds_no_compiler(image: GetImage, name: str) -> None:
    assert matching(BUILDERS, image(name).files()) == []


@pytest.mark.parametrize("name", FOR_CLUSTERS)
def test_it_keeps_nothing_that_the_machine_has_lent_to_its_build(image: GetImage, name: str) -> None:
    lent = ("/etc/apt/sources.list", "/etc/apt/apt.conf.d/99machine", "/etc/pip.conf", machine.AUTHORITIES_INSIDE)
    files = image(name).files()
    assert [path for path in lent if path in files and files[path].stat().st_size] == []
    assert not any(path.startswith(("/var/lib/apt/lists/", "/root/.cache", "/root/.config")) for path in files)


@pytest.mark.parametrize("name", OWN)
def test_ours_holds_neither_an_installer_nor_its_tools(image: GetImage, name: str) -> None:
    assert matching(INSTALLERS, image(name).files()) == []


@pytest.mark.parametrize("name", OWN)
def test_ours_holds_no_shell(image: GetImage, name: str) -> None:
    assert matching(SHELLS, image(name).files()) == []


def test_the_product_tells_its_version(image: GetImage) -> None:
    labels = image(PRODUCT).configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == PRODUCT_VERSION
    assert labels["org.opencontainers.image.title"] == PRODUCT


def test_nobody_but_root_may_change_a_program_of_the_product(image: GetImage) -> None:
    found = image(PRODUCT).files()
    assert [path for path, file in found.items() if file.stat().st_uid or file.stat().st_mode & 0o022] == []
