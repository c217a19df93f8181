"""The license keys are handed over when all replicas of the operator say that they have them."""

import pytest

from hack.errors import PlatformError
from hack.platform import hand_over_keys, license_keys

KEYS = '{"keys": [{"kid": "a"}, {"kid": "b"}]}'


class FakeCluster:
    """One whose billing API publishes at the second look, and whose nodes look only after an annotation."""

    def __init__(self, *, publishes: bool = True) -> None:
        self.looks = 0
        self.trusted = {"first": 0, "second": 0}
        self._publishes = publishes

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        match arguments:
            case ("get", "configmap", "license-jwks", *_):
                self.looks += 1
                return KEYS if self._publishes and self.looks > 1 else ""
            case ("get", "pods", *_):
                return " ".join(self.trusted)
            case ("annotate", "pods", *_):
                self.trusted = dict.fromkeys(self.trusted, 1)
                return ""
            case ("get", "--raw", path):
                return self._metrics(path.split("/")[6].partition(":")[0])
        raise AssertionError(arguments)

    def _metrics(self, pod: str) -> str:
        shown = self.trusted[pod]
        self.trusted[pod] = min(shown + 1, 2) if shown else 0
        return f"customer_operator_license_keys_unreadable 0.0\ncustomer_operator_license_keys {float(shown)}\n"


def test_it_waits_until_they_are_published_and_every_replica_trusts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(license_keys, "_PAUSE", 0)
    cluster = FakeCluster()

    hand_over_keys(cluster, report=lambda _: None)

    assert cluster.looks == 2
    assert cluster.trusted == {"first": 2, "second": 2}


def test_keys_that_are_never_published_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(license_keys, "_PATIENCE", 0)

    with pytest.raises(PlatformError, match="the billing API has not published its keys within 0 s"):
        hand_over_keys(FakeCluster(publishes=False), report=lambda _: None)
