"""The API server in memory, as the operator's client."""

from typing import cast

import pytest

from customer_operator.kube.client import KubeClient
from tests.support.fake_kube import FakeKube


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def client(kube: FakeKube) -> KubeClient:
    return cast("KubeClient", kube)
