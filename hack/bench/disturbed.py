"""Signups while things break: the API server stops half-way, and a replica is killed and stays away.

Whoever was told that the account is made must have it, once, and one CustomerInstance under the name that was told.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from customer_operator import naming
from customer_operator.kube.kinds import path_of
from hack.bench.replicas import Replica, accounts
from hack.bench.signups import Answer, Customers, customers
from hack.cluster import Client, LocalCluster

_INSTANCES = path_of(naming.KIND)
_PATIENCE = 180.0  # seconds that a customer insists, and that instances are waited for
_GLANCE = 0.2
_PARTY = "disturbed"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What was found when all was quiet again; `lost` and `doubled` are what must be none.

    `recovery_s` are the seconds from the start of the API server until every instance was there.
    """

    signups: int
    refused: int
    lost_accounts: int
    lost_instances: int
    doubled_accounts: int
    doubled_instances: int
    recovery_s: float

    @property
    def lost(self) -> int:
        """Accounts and instances that were promised and are not there."""
        return self.lost_accounts + self.lost_instances

    @property
    def doubled(self) -> int:
        """Accounts and instances that are there more than once."""
        return self.doubled_accounts + self.doubled_instances

    def as_json(self) -> dict[str, Any]:
        """Return every figure under its public name."""
        return {**asdict(self), "recovery_s": round(self.recovery_s, 1), "lost": self.lost, "doubled": self.doubled}


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What the answer to a signup has told."""

    email: str
    customer_id: str
    instance: str

    @property
    def order(self) -> tuple[str, str, str]:
        """What the cluster must hold: name, e-mail address, customer."""
        return self.instance, self.email, self.customer_id

    @classmethod
    def of(cls, email: str, answer: Answer) -> "Promise":
        """Read the answer to a signup that was taken."""
        job = str(answer.content["deployment"]["job_id"])
        customer_id = str(answer.content["customer"]["customer_id"])
        return cls(email=email, customer_id=customer_id, instance=job.rpartition("-g")[0])


async def disturb(cluster: LocalCluster, replicas: Sequence[Replica], *, dsn: str, count: int) -> Damage:
    """Have `count` people sign up at once, break things half-way, and count what is lost and doubled.

    `replicas` work on the empty database `dsn`; the last of them is killed.
    """
    async with customers([replica.url for replica in replicas], party=_PARTY) as people:
        answers = await _sign_up(people, count, cluster=cluster, victim=replicas[-1])
    began = time.monotonic()
    await asyncio.to_thread(cluster.start_component, "kube-apiserver")
    promises = [Promise.of(email, answer) for email, answer in answers.items() if answer.taken]
    await asyncio.to_thread(_await_instances, cluster, {promise.instance for promise in promises})
    recovery = time.monotonic() - began
    # Only now: what is applied twice may be so late.
    await asyncio.to_thread(replicas[0].wait_drained, timeout=_PATIENCE)
    return count_damage(
        promises, accounts=accounts(dsn), instances=_instances(cluster), signups=count, recovery_s=recovery
    )


def count_damage(
    promises: Sequence[Promise],
    *,
    accounts: Iterable[tuple[str, str]],
    instances: Iterable[Mapping[str, Any]],
    signups: int,
    recovery_s: float,
) -> Damage:
    """Compare what was promised with the accounts (address, customer) and instances that there are."""
    made, orders = list(accounts), [_order(item) for item in instances]
    return Damage(
        signups=signups,
        refused=signups - len(promises),
        lost_accounts=sum((promise.email, promise.customer_id) not in made for promise in promises),
        lost_instances=sum(promise.order not in orders for promise in promises),
        doubled_accounts=_repeated(email for email, _ in made),
        doubled_instances=_repeated(email for _, email, _ in orders),
        recovery_s=recovery_s,
    )


def _order(item: Mapping[str, Any]) -> tuple[str, str, str]:
    customer = item["spec"]["customer"]
    return item["metadata"]["name"], customer["email"], customer["id"]


def _repeated(values: Iterable[str]) -> int:
    return sum(count - 1 for count in Counter(values).values())


async def _sign_up(people: Customers, count: int, *, cluster: LocalCluster, victim: Replica) -> dict[str, Answer]:
    """Return the last answer of each, by e-mail address; when half are answered, API server and victim are killed."""
    half = asyncio.Semaphore(0)

    async def one(email: str) -> tuple[str, Answer]:
        answer = await people.insist(email, key=str(uuid4()), seconds=_PATIENCE)
        half.release()
        return email, answer

    signing_up = asyncio.gather(*(one(people.address()) for _ in range(count)))
    for _ in range(count // 2):
        await half.acquire()
    await asyncio.gather(asyncio.to_thread(cluster.stop_component, "kube-apiserver"), asyncio.to_thread(victim.kill))
    return dict(await signing_up)


def _await_instances(cluster: LocalCluster, names: set[str]) -> None:
    """Wait until the instances are there, or until waiting longer is of no use: the missing ones are counted then."""
    deadline = time.monotonic() + _PATIENCE
    while not names <= {item["metadata"]["name"] for item in _instances(cluster)} and time.monotonic() < deadline:
        time.sleep(_GLANCE)


def _instances(cluster: LocalCluster) -> list[dict[str, Any]]:
    """Return the instances of these signups only."""
    with Client(cluster.kubeconfig) as api:
        found = api.collection(_INSTANCES)
    return [item for item in found if item["spec"]["customer"]["email"].endswith(f"@{_PARTY}.example")]
