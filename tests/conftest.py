"""Which tests run one after the other: `make test` runs the whole on two workers (pytest-xdist, --dist loadgroup)."""

from pathlib import Path

import pytest

from hack.paths import PROJECT_ROOT

TESTS = PROJECT_ROOT / "tests"
# Of a room all tests share what takes long to start: a control plane, a node, images. Elsewhere it is a file's matter.
ROOMS = ("cluster", "images", "node")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say of each test with which others it has to share a worker."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item.path)))


def group(path: Path) -> str:
    """Return the name of the group that a test file belongs to."""
    relative = path.relative_to(TESTS)
    return relative.parts[0] if relative.parts[0] in ROOMS else relative.as_posix()
