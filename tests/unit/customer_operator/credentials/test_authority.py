"""The Secret mqtt-ca: made once, followed when it is replaced, renewed in time, and never silently wrong."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.authority import AuthorityStore
from customer_operator.credentials.certificates import KeyPair
from customer_operator.credentials.encoding import encode
from customer_operator.errors import AdmissionRefused, ClusterUnreachable, PermissionMissing, SecretBroken
from customer_operator.naming import Manifest
from tests.support.fake_kube import Call, FakeKube

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DUE = NOW + certificates.CA_LIFETIME - certificates.CA_RENEW_BEFORE
HOME = "iotistic-system"
NAME = naming.AUTHORITY_SECRET
REREAD = 600.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})


@pytest.fixture
def store(kube: FakeKube, clock: Clock) -> AuthorityStore:
    return AuthorityStore(kube, HOME, reread=REREAD, clock=clock)


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return certificates.create_authority(now=NOW)


def secret(*, kind: str = "kubernetes.io/tls", **values: str) -> Manifest:
    data = encode({name.replace("_", "."): value for name, value in values.items()})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": HOME},
        "type": kind,
        "data": data,
    }


def secret_of(pair: KeyPair, *, kind: str = "kubernetes.io/tls") -> Manifest:
    return secret(kind=kind, tls_crt=pair.certificate, tls_key=pair.private_key)


def live(kube: FakeKube) -> Manifest:
    found = kube.find("Secret", NAME, namespace=HOME)
    assert found is not None
    return found


async def test_the_first_leader_makes_an_authority_and_the_next_one_finds_it(kube: FakeKube) -> None:
    made = await AuthorityStore(kube, HOME, reread=REREAD).get(now=NOW)
    found = await AuthorityStore(kube, HOME, reread=REREAD).get(now=NOW)

    assert made == found
    assert live(kube)["data"] == secret_of(made)["data"]
    assert live(kube)["type"] == "kubernetes.io/tls"
    assert kube.writes == [Call("create", "Secret", NAME, HOME)]


async def test_all_who_ask_at_once_get_the_same_for_one_request(kube: FakeKube, store: AuthorityStore) -> None:
    answers = await asyncio.gather(*(store.get(now=NOW) for _ in range(5)))

    assert all(answer == answers[0] for answer in answers)
    assert [call.verb for call in kube.calls] == ["get", "create"]


async def test_of_two_leaders_that_make_one_the_first_wins(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair
) -> None:
    def come_before(call: Call) -> None:
        if call.verb == "create":
            kube.put(secret_of(pair))

    kube.before = come_before
    assert await store.get(now=NOW) == pair


async def test_a_replaced_authority_is_followed_once_the_answer_is_old(
    kube: FakeKube, store: AuthorityStore, clock: Clock, pair: KeyPair
) -> None:
    first = await store.get(now=NOW)
    kube.put(secret_of(pair))
    clock.now += REREAD - 1
    assert await store.get(now=NOW) == first

    clock.now += 1
    assert await store.get(now=NOW) == pair
    assert [call.verb for call in kube.calls] == ["get", "create", "get"]


async def test_an_authority_deleted_under_a_running_operator_comes_back_as_it_was(
    kube: FakeKube, store: AuthorityStore, clock: Clock
) -> None:
    first = await store.get(now=NOW)
    kube.remove("Secret", NAME, namespace=HOME)
    clock.now += REREAD

    assert await store.get(now=NOW) == first
    assert live(kube)["data"] == secret_of(first)["data"]


@pytest.mark.parametrize("late", [timedelta(0), 2 * certificates.CA_RENEW_BEFORE], ids=["due", "expired"])
@pytest.mark.parametrize("kind", ["kubernetes.io/tls", "Opaque"])
async def test_an_authority_is_renewed_in_its_secret_with_the_same_key(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair, late: timedelta, kind: str
) -> None:
    before = kube.put(secret_of(pair, kind=kind))
    renewed = await store.get(now=DUE + late)

    assert renewed.private_key == pair.private_key
    assert certificates.expires_at(renewed.certificate) == DUE + late + certificates.CA_LIFETIME
    assert live(kube)["data"] == secret_of(renewed)["data"]
    assert (live(kube)["type"], live(kube)["metadata"]["uid"]) == (kind, before["metadata"]["uid"])
    assert await store.get(now=DUE + late) == renewed
    assert len(kube.writes) == 1


async def test_an_authority_that_is_not_due_is_not_written(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair
) -> None:
    kube.put(secret_of(pair))

    assert await store.get(now=DUE - timedelta(seconds=1)) == pair
    assert kube.writes == []


async def test_one_replaced_while_it_is_renewed_is_not_overwritten(
    kube: FakeKube, store: AuthorityStore, clock: Clock, pair: KeyPair
) -> None:
    kube.put(secret_of(pair))
    other = certificates.create_authority(now=DUE)

    def replace(call: Call) -> None:
        if call.verb == "apply":
            kube.put(secret_of(other))

    kube.before = replace
    await store.get(now=DUE)
    assert live(kube)["data"] == secret_of(other)["data"]
    clock.now += REREAD
    assert await store.get(now=DUE) == other


@pytest.mark.parametrize("error", [PermissionMissing("patch"), AdmissionRefused("immutable")])
async def test_a_renewal_that_is_refused_is_logged_and_stops_nothing_before_the_end(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    kube.put(secret_of(pair))
    kube.fail("apply", error, times=9)
    with caplog.at_level(logging.WARNING):
        assert await store.get(now=DUE) == pair
    assert "cannot be renewed" in caplog.text

    # The answer is still good by the clock, but the authority has ended.
    with pytest.raises(type(error)):
        await store.get(now=NOW + certificates.CA_LIFETIME)


async def test_an_outage_is_raised_and_the_next_call_asks_again(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair
) -> None:
    kube.put(secret_of(pair))
    kube.fail("get", ClusterUnreachable("away"))

    with pytest.raises(ClusterUnreachable):
        await store.get(now=NOW)
    assert await store.get(now=NOW) == pair


async def test_a_secret_without_an_authority_is_named_with_the_cure(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair
) -> None:
    broken = {
        "it has no key 'tls.crt'": secret(kind="Opaque", tls_key=pair.private_key),
        "it has no key 'tls.key'": secret(kind="Opaque", tls_crt=pair.certificate),
        "tls.crt is not a PEM certificate": secret(tls_crt="fake", tls_key=pair.private_key),
        "tls.key is not a PEM private key": secret(tls_crt=pair.certificate, tls_key="fake"),
        "is not text": {**secret_of(pair), "data": {**secret_of(pair)["data"], "tls.key": "/v8="}},
    }
    for problem, manifest in broken.items():
        kube.put(manifest)
        with pytest.raises(SecretBroken) as refused:
            await store.get(now=NOW)
        message = str(refused.value)
        assert message.startswith(f"Secret mqtt-ca in namespace {HOME}: ")
        assert problem in message
        assert "restore it from a backup" in message
    assert kube.writes == []


async def test_a_secret_that_was_repaired_is_used_at_the_next_try(
    kube: FakeKube, store: AuthorityStore, pair: KeyPair
) -> None:
    kube.put(secret(tls_crt="fake", tls_key="fake"))
    with pytest.raises(SecretBroken):
        await store.get(now=NOW)

    kube.put(secret_of(pair))
    assert await store.get(now=NOW) == pair
