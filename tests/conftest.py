"""Which tests run one after the other when they have several workers (pytest-xdist), as in `make test`."""

from pathlib import PurePath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Of a room all tests share what takes long to start: a control plane, a node, images. Elsewhere it is a file's matter.
ROOMS = ("cluster", "images", "node")


class Rooms(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives a worker a room, or a file of another, as a whole and in order."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the room or file that a test is in."""
        file, _, _ = nodeid.partition("::")
        room = PurePath(file).parts[1]
        return room if room in ROOMS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Rooms:
    """Have it distribute the tests."""
    return Rooms(config, log)
