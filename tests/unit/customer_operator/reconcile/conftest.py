"""The API server in memory as the operator's client, and a whole world around it."""

from typing import cast

import pytest

from customer_operator.kube.client import KubeClient
from tests.support.fake_kube import FakeKube
from tests.support.reconciling import World


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def client(kube: FakeKube) -> KubeClient:
    return cast("KubeClient", kube)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def steady(world: World) -> World:
    """Return a world with an instance, acme, that is ready."""
    await world.bring_up()
    assert world.status()["phase"] == "Ready"
    return world
