"""Applies customers' instances: ordered in the transaction that changes something, done by the outbox.

The resource is made of what the database holds when it is applied, under a name that never changes: applying it once
more, or later than something else, does no harm.
"""

import logging
from typing import Any, Final

from billing_api.db import accounts, outbox
from billing_api.db.accounts import Account
from billing_api.db.outbox import Job, Progress
from billing_api.db.pool import Connection, Database
from billing_api.errors import ClusterRejected, Postponed, Refused, WatchExpired
from billing_api.kube.client import KubeClient
from billing_api.kube.instances import manifest

#: The outbox's kind; its subject is the customer's identifier.
KIND: Final = "instance.apply"

log = logging.getLogger(__name__)


async def order(connection: Connection, customer_id: str) -> None:
    """Have the customer's instance applied as it is once the transaction commits."""
    await outbox.add(connection, kind=KIND, subject=customer_id)


async def progress(connection: Connection, customer_id: str) -> Progress | None:
    """Return how far the newest order for the customer is, or None without one."""
    return await outbox.progress(connection, kind=KIND, subject=customer_id)


class InstanceApplier:
    """The outbox's handler of `KIND`."""

    def __init__(self, *, database: Database, client: KubeClient) -> None:
        self._database = database
        self._client = client

    async def __call__(self, job: Job) -> dict[str, Any] | None:
        """Apply the instance of the job's subject.

        Returns:
            The resource's ``generation`` and ``resourceVersion``; None when the customer is no more.

        Raises:
            Refused: the API server refuses this object for good.
            Postponed, ClusterUnavailable, DatabaseUnavailable: it may work later.
        """
        async with self._database.transaction() as connection:
            account = await accounts.load(connection, job.subject)
        if account is None:
            log.info("Customer %s is no more, and has no instance to apply", job.subject)
            return None
        try:
            applied = await self._client.apply(_manifest(account))
        except ClusterRejected as error:
            raise Refused(str(error)) from error
        except WatchExpired as error:
            raise Postponed(str(error)) from error
        log.info("Applied customer instance %s", account.customer.instance_name)
        return {"generation": applied.generation, "resourceVersion": applied.resource_version}


def _manifest(account: Account) -> dict[str, Any]:
    customer = account.customer
    return manifest(
        name=customer.instance_name,
        customer_id=customer.customer_id,
        email=customer.email,
        company_name=customer.company_name,
        plan=account.license.plan,
        license=account.license.jwt,
    )
