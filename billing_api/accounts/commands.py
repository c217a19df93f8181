"""What an administrator of the platform does on the command line: ``admin grant|revoke``, ``customer verify``."""

import logging

from billing_api.accounts import names
from billing_api.db import accounts as rows
from billing_api.db.accounts import Role
from billing_api.db.pool import Database
from billing_api.errors import CommandRefused

log = logging.getLogger(__name__)


async def grant_admin(database: Database, email: str) -> str:
    """Let a customer use the administrators' part of the API, from their next request on.

    Returns:
        One line that says what was done.

    Raises:
        CommandRefused: no account has the address.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    return f"{await _set_role(database, email, 'admin')} is an administrator now"


async def revoke_admin(database: Database, email: str) -> str:
    """Take that right back, from their next request on; see `grant_admin`."""
    return f"{await _set_role(database, email, 'customer')} is no administrator any more"


async def verify(database: Database, email: str) -> str:
    """Take the address of a customer for verified: their trial counts no more among those of unknown people.

    Returns:
        One line that says what was done.

    Raises:
        CommandRefused: no account has the address.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    key = _key(email)
    async with database.transaction() as connection:
        customer_id = _found(await rows.set_verified(connection, email_key=key))
    log.warning("The address of customer %s counts as verified from now on", customer_id)
    return f"The address of {customer_id} is verified"


async def _set_role(database: Database, email: str, role: Role) -> str:
    key = _key(email)
    async with database.transaction() as connection:
        customer_id = _found(await rows.set_role(connection, email_key=key, role=role))
    log.warning("Customer %s has the role %s from now on", customer_id, role)
    return customer_id


def _key(email: str) -> str:
    try:
        return names.email_key(email)
    except ValueError as error:
        raise CommandRefused(f"EMAIL {error}") from None


def _found(customer_id: str | None) -> str:
    if customer_id is None:
        raise CommandRefused("EMAIL: no account has this address; sign up with it first")
    return customer_id
