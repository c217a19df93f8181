"""The Secret `credentials`: made once, read again when told to, restored from memory, lost only when it is."""

from datetime import UTC, datetime, timedelta

import pytest

from customer_operator import naming
from customer_operator.credentials import certificates, generation
from customer_operator.credentials.authority import AuthorityStore
from customer_operator.credentials.encoding import data_of, encode
from customer_operator.credentials.store import CredentialStore
from customer_operator.errors import ClusterUnreachable, Conflict, CredentialsLost, SecretBroken
from customer_operator.naming import Manifest
from tests.support.fake_kube import Call, FakeKube
from tests.support.generate import make_instance, make_platform

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOME, NAMESPACE = "iotistic-system", "customer-acme"
NAME = naming.CREDENTIALS_SECRET
INSTANCE = make_instance("acme")
PASSWORD = "postgres_password"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (HOME, NAMESPACE))
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(kube: FakeKube, clock: Clock) -> CredentialStore:
    return started(kube, clock)


def started(kube: FakeKube, clock: Clock | None = None, **platform: str) -> CredentialStore:
    """Return the store of an operator that has just been started."""
    authority = AuthorityStore(kube, HOME, reread=600, clock=clock or Clock())
    return CredentialStore(kube, make_platform(**platform), authority)


def find(kube: FakeKube) -> Manifest | None:
    return kube.find("Secret", NAME, namespace=NAMESPACE)


def data(kube: FakeKube) -> dict[str, str]:
    return data_of(find(kube))


def remove(kube: FakeKube) -> None:
    kube.remove("Secret", NAME, namespace=NAMESPACE)


def edit(kube: FakeKube, *, without: str = "", **values: str) -> None:
    """Change the Secret by hand; the values are those of its data, base64."""
    live = find(kube)
    assert live is not None
    kube.put({**live, "data": {key: value for key, value in {**live["data"], **values}.items() if key != without}})


def claim(
    *, bound: bool = True, phase: str = "Bound", deleted: bool = False, name: str = "data-postgres-0"
) -> Manifest:
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {}),
    }
    spec = {"volumeName": "pv-1"} if bound else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": spec,
        "status": {"phase": phase},
    }


def requests(kube: FakeKube) -> list[Call]:
    """Return the requests in the instance's namespace."""
    return [call for call in kube.calls if call.namespace == NAMESPACE]


# -- made once -------------------------------------------------------------------------------------------------------


async def test_in_a_new_namespace_credentials_are_made_with_one_request(kube: FakeKube, store: CredentialStore) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)

    assert requests(kube) == [Call("create", "Secret", NAME, NAMESPACE)]
    assert generation.parse(generation.decode(data(kube), instance_name="acme")) == made
    assert certificates.covers(made.tls_certificate_pem, hosts=["mqtt.acme.iot.example.com", "mosquitto"])


async def test_they_are_remembered_and_cost_no_further_request(kube: FakeKube, store: CredentialStore) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    kube.calls.clear()

    assert await store.get_or_create(INSTANCE, new_namespace=False, now=NOW) == made
    assert await store.get("acme") == made
    assert kube.calls == []


async def test_another_operator_reads_them_and_writes_nothing(kube: FakeKube, store: CredentialStore) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    kube.calls.clear()

    assert await started(kube).get_or_create(INSTANCE, new_namespace=False, now=NOW) == made
    assert requests(kube) == [Call("get", "Secret", NAME, NAMESPACE)]
    assert kube.writes == []


async def test_of_two_operators_that_make_them_the_first_wins(kube: FakeKube, store: CredentialStore) -> None:
    first = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)

    second = started(kube)
    assert await second.get_or_create(INSTANCE, new_namespace=True, now=NOW) == first
    assert await second.get("acme") == first


async def test_what_is_remembered_of_a_former_namespace_does_not_count_in_a_new_one(
    kube: FakeKube, store: CredentialStore, clock: Clock
) -> None:
    old = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    remove(kube)
    clock.now += 600
    kube.fail("get", ClusterUnreachable("away"), name=naming.AUTHORITY_SECRET)
    with pytest.raises(ClusterUnreachable):
        await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)

    # The next pass does not know any more that the namespace is new.
    new = await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert new.postgres_password != old.postgres_password
    assert encode({PASSWORD: new.postgres_password}).items() <= data(kube).items()


async def test_forgotten_ones_are_read_again(kube: FakeKube, store: CredentialStore) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    store.forget("acme")
    kube.calls.clear()

    assert await store.get("acme") == made
    assert requests(kube) == [Call("get", "Secret", NAME, NAMESPACE)]


# -- read without making ---------------------------------------------------------------------------------------------


async def test_get_makes_nothing(kube: FakeKube, store: CredentialStore) -> None:
    assert await store.get("acme") is None
    assert kube.writes == []


async def test_get_gives_nothing_while_something_is_missing(kube: FakeKube, store: CredentialStore) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, without="exporter_db_password")

    assert await started(kube).get("acme") is None


async def test_what_get_has_read_is_checked_before_it_is_used(kube: FakeKube, store: CredentialStore) -> None:
    """The base domain was changed while the instance was paused."""
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    other = started(kube, base_domain="new.example.com")
    await other.get("acme")

    used = await other.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert certificates.covers(used.tls_certificate_pem, hosts=["mqtt.acme.new.example.com"])


# -- deleted, edited, restored ---------------------------------------------------------------------------------------


async def test_a_secret_deleted_under_a_running_operator_is_restored_whole(
    kube: FakeKube, store: CredentialStore
) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, **encode({"future_password": "of a newer version"}))
    store.invalidate("acme")
    await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    before = data(kube)
    remove(kube)

    await store.restore("acme")
    assert data(kube) == before
    assert "future_password" in before


async def test_restore_leaves_alone_what_is_there_or_unknown(kube: FakeKube, store: CredentialStore) -> None:
    await store.restore("acme")
    assert kube.calls == []

    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, **encode({PASSWORD: "restored-from-a-backup"}))
    before = find(kube)
    await store.restore("acme")
    assert find(kube) == before
    used = await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert used.postgres_password == "restored-from-a-backup"


async def test_invalidated_ones_are_read_again_once_and_the_secret_counts(
    kube: FakeKube, store: CredentialStore
) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, **encode({"api_db_password": "edited"}))
    assert await store.get_or_create(INSTANCE, new_namespace=False, now=NOW) == made

    store.invalidate("acme")
    kube.calls.clear()
    for _ in range(2):
        assert (await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)).api_db_password == "edited"
    assert requests(kube) == [Call("get", "Secret", NAME, NAMESPACE)]


async def test_invalidated_and_deleted_they_are_written_again_as_they_were(
    kube: FakeKube, store: CredentialStore
) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    kube.put(claim())
    before = data(kube)
    remove(kube)
    store.invalidate("acme")

    assert await store.get("acme") == made
    assert find(kube) is None
    assert await store.get_or_create(INSTANCE, new_namespace=False, now=NOW) == made
    assert data(kube) == before


@pytest.mark.parametrize("missing", [name for name in generation.NAMES if name != PASSWORD])
async def test_a_missing_value_is_made_and_the_rest_kept_whether_there_is_data_or_not(
    kube: FakeKube, store: CredentialStore, missing: str
) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    kube.put(claim())
    edit(kube, without=missing, **encode({"future_password": "of a newer version"}))
    before = data(kube)

    await started(kube).get_or_create(INSTANCE, new_namespace=False, now=NOW)
    after = data(kube)
    assert after.keys() == {*before, missing}
    together = {missing, f"{missing}_hash"} if not missing.startswith("tls") else set(generation.NAMES[-3:])
    assert {key for key in before if after[key] != before[key]} <= together


async def test_a_missing_value_that_is_remembered_comes_back(kube: FakeKube, store: CredentialStore) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    kube.put(claim())
    edit(kube, without=PASSWORD)
    store.invalidate("acme")

    assert await store.get_or_create(INSTANCE, new_namespace=False, now=NOW) == made
    assert data(kube)[PASSWORD] == encode({PASSWORD: made.postgres_password})[PASSWORD]


@pytest.mark.parametrize("removed", generation.TLS)
async def test_a_certificate_that_was_taken_out_is_replaced_though_it_is_remembered(
    kube: FakeKube, store: CredentialStore, removed: str
) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, without=removed)
    store.invalidate("acme")

    renewed = await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert renewed.tls_certificate_pem != made.tls_certificate_pem
    assert renewed.tls_private_key_pem != made.tls_private_key_pem
    assert renewed.tls_ca_pem == made.tls_ca_pem
    assert renewed.postgres_password == made.postgres_password


async def test_a_secret_of_another_type_is_completed_too(kube: FakeKube, store: CredentialStore) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, without="api_db_password")
    kube.put({**(find(kube) or {}), "type": "example.com/restored"})

    await started(kube).get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert (find(kube) or {})["type"] == "example.com/restored"


async def test_an_edit_made_while_it_is_completed_is_not_overwritten(kube: FakeKube, store: CredentialStore) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, without="api_db_password")

    def interfere(call: Call) -> None:
        if call.verb == "apply":
            edit(kube, **encode({PASSWORD: "edited"}))

    kube.before = interfere
    with pytest.raises(Conflict):
        await started(kube).get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert data(kube)[PASSWORD] == encode({PASSWORD: "edited"})[PASSWORD]


async def test_a_value_that_cannot_be_used_is_an_error_that_names_it_until_it_is_repaired(
    kube: FakeKube, store: CredentialStore
) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, mqtt_api_password_hash="ZmFrZQ==")
    broken = started(kube)
    for read in (broken.get("acme"), broken.get_or_create(INSTANCE, new_namespace=False, now=NOW)):
        with pytest.raises(SecretBroken, match="Secret credentials in namespace customer-acme: mqtt_api_password_hash"):
            await read

    edit(kube, **encode({"mqtt_api_password_hash": made.mqtt_api_password_hash}))
    assert await broken.get_or_create(INSTANCE, new_namespace=False, now=NOW) == made


# -- lost only when it is --------------------------------------------------------------------------------------------

WITHOUT_DATA = {
    "no claim": None,
    "a claim that was never bound": claim(bound=False, phase="Pending"),
    "a claim that is being deleted": claim(deleted=True),
    "a claim of the broker": claim(name="data-mosquitto-0"),
}
WITH_DATA = {
    "bound": claim(),
    "bound by somebody, not yet confirmed": claim(phase="Pending"),
    "its volume is lost": claim(bound=False, phase="Lost"),
}


@pytest.mark.parametrize("found", WITH_DATA)
async def test_without_their_secret_the_credentials_of_a_database_with_data_are_lost(
    kube: FakeKube, store: CredentialStore, found: str
) -> None:
    kube.put(WITH_DATA[found])

    with pytest.raises(CredentialsLost):
        await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert find(kube) is None


@pytest.mark.parametrize("found", WITHOUT_DATA)
async def test_without_data_they_are_made(kube: FakeKube, store: CredentialStore, found: str) -> None:
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "postgres", "namespace": NAMESPACE},
    }
    kube.put(stateful_set)
    if (present := WITHOUT_DATA[found]) is not None:
        kube.put(present)

    made = await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert generation.parse(generation.decode(data(kube), instance_name="acme")) == made


async def test_the_password_of_the_database_alone_is_lost_as_well(kube: FakeKube, store: CredentialStore) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, without=PASSWORD)
    before = find(kube)
    other = started(kube)
    kube.put(claim())

    with pytest.raises(CredentialsLost):
        await other.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert find(kube) == before
    kube.remove("PersistentVolumeClaim", "data-postgres-0", namespace=NAMESPACE)
    await other.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert PASSWORD in data(kube)


async def test_the_claim_is_asked_for_only_when_the_password_is_gone(kube: FakeKube, store: CredentialStore) -> None:
    await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    edit(kube, without="api_db_password")
    await started(kube).get_or_create(INSTANCE, new_namespace=False, now=NOW)

    assert not [call for call in kube.calls if call.kind == "PersistentVolumeClaim"]


# -- the certificate -------------------------------------------------------------------------------------------------


async def test_a_certificate_that_is_due_is_replaced_in_the_secret_and_nothing_else(
    kube: FakeKube, store: CredentialStore
) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    before, due = data(kube), NOW + certificates.LIFETIME - certificates.RENEW_BEFORE
    assert await store.get_or_create(INSTANCE, new_namespace=False, now=due - timedelta(seconds=1)) == made

    renewed = await store.get_or_create(INSTANCE, new_namespace=False, now=due)
    after = data(kube)
    assert {key for key in after if after[key] != before[key]} == {"tls_certificate_pem", "tls_private_key_pem"}
    kube.calls.clear()
    assert await store.get_or_create(INSTANCE, new_namespace=False, now=due) == renewed
    assert kube.calls == []


async def test_a_replaced_authority_reaches_every_instance_under_the_running_operator(
    kube: FakeKube, store: CredentialStore, clock: Clock
) -> None:
    made = await store.get_or_create(INSTANCE, new_namespace=True, now=NOW)
    other = certificates.create_authority(now=NOW)
    live = kube.find("Secret", naming.AUTHORITY_SECRET, namespace=HOME)
    assert live is not None
    kube.put({**live, "data": encode({"tls.crt": other.certificate, "tls.key": other.private_key})})
    assert await store.get_or_create(INSTANCE, new_namespace=False, now=NOW) == made

    clock.now += 600
    used = await store.get_or_create(INSTANCE, new_namespace=False, now=NOW)
    assert used.tls_ca_pem == other.certificate
    assert used.tls_certificate_pem != made.tls_certificate_pem
    assert used.postgres_password == made.postgres_password
