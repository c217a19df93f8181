"""Renewal: a new license for a customer who has one, and its way to the customer's instance."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from billing_api.db import licenses
from billing_api.db.licenses import License
from billing_api.db.pool import Connection, Database
from billing_api.errors import Postponed, ServiceUnavailable
from billing_api.licensing.commands import RENEW
from billing_api.licensing.issuing import LicenseIssuer
from billing_api.licensing.licenses import Term
from billing_api.licensing.publication import AddJob

#: Customers renewed by one outbox row: less than a second of work, so that a stop need not wait and a lease lasts.
_BATCH = 100
#: Why, in the history, when the key was revoked.
_KEY_REVOKED = "key_revoked"

log = logging.getLogger(__name__)


class RenewJob(Protocol):
    """What of an outbox row the handler reads."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """``kid``, the revoked key, and ``after``, the customer to continue after."""


@dataclass(frozen=True, kw_only=True)
class Renewals:
    """Renews licenses.

    Attributes:
        order: has the customer's instance applied once the transaction commits.
        add: writes any other outbox row.
    """

    database: Database
    issuer: LicenseIssuer
    order: Callable[[Connection, str], Awaitable[object]]
    add: AddJob

    async def renew(self, connection: Connection, customer_id: str, *, reason: str) -> License | None:
        """Issue a license of the same plan and term as the newest, and have it brought to the instance.

        Part of the caller's transaction, which keeps the customer's row until its end: of two renewals at once the
        second sees the first.

        Args:
            reason: why, for the history: a word such as ``key_revoked``.

        Returns:
            The new license, or None when there is no such customer or no license to renew.

        Raises:
            ServiceUnavailable: no key may sign now.
        """
        instance_name = await licenses.lock_holder(connection, customer_id)
        newest = await licenses.newest_license(connection, customer_id)
        if instance_name is None or newest is None:
            return None
        term = Term(
            customer_id=customer_id,
            instance_name=instance_name,
            plan=newest.plan,
            issued_at=datetime.now(UTC).replace(microsecond=0),
            # Also in the past: only a license that verifies says that the time is up.
            expires_at=newest.expires_at,
        )
        license = await self.issuer.issue(connection, term, reason=reason)
        await self.order(connection, customer_id)
        return license

    async def handle(self, job: RenewJob) -> Mapping[str, Any]:
        """Renew what a revoked key has signed: the outbox's handler for `RENEW`.

        A batch at a time, each customer in a transaction of their own; what is left is another row's work. Done twice
        it renews nothing twice.

        Raises:
            Postponed: no key may sign now.
            DatabaseUnavailable
        """
        kid, after = str(job.payload["kid"]), str(job.payload["after"])
        async with self.database.transaction() as connection:
            customers = await licenses.holders(connection, kid=kid, after=after, limit=_BATCH)
        renewed = [customer_id for customer_id in customers if await self._replace(customer_id, kid=kid)]
        if len(customers) == _BATCH:
            async with self.database.transaction() as connection:
                await self.add(connection, kind=RENEW, subject=kid, payload={"kid": kid, "after": customers[-1]})
        if renewed:
            log.info("Renewed %d licenses signed by the revoked key %s", len(renewed), kid)
        return {"renewed": len(renewed)}

    async def _replace(self, customer_id: str, *, kid: str) -> bool:
        async with self.database.transaction() as connection:
            await licenses.lock_holder(connection, customer_id)
            newest = await licenses.newest_license(connection, customer_id)
            if newest is None or newest.kid != kid:
                return False
            try:
                return await self.renew(connection, customer_id, reason=_KEY_REVOKED) is not None
            except ServiceUnavailable as error:
                raise Postponed(str(error)) from error
