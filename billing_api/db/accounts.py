"""Customers with their subscription and licenses, as rows."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, LiteralString

from psycopg.rows import class_row

from billing_api.db.licenses import License, newest_license
from billing_api.db.pool import Connection
from billing_api.errors import EmailTaken, InstanceNameTaken, of_field

SubscriptionPlan = Literal["starter", "professional", "enterprise"]
Role = Literal["customer", "admin"]


@dataclass(frozen=True, kw_only=True)
class Customer:
    """One account.

    Attributes:
        email_key: the form in which an address is unique.
    """

    customer_id: str
    email: str
    email_key: str
    password_hash: str = field(repr=False)
    company_name: str
    full_name: str | None
    instance_name: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """What a customer has subscribed to; ``status`` in Stripe's words."""

    plan: SubscriptionPlan
    status: str
    trial_ends_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Account:
    """All of a customer that an answer is made of."""

    customer: Customer
    subscription: Subscription
    license: License


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a signup came from, as keyed hashes.

    Attributes:
        address: an IPv4 address, or a /64 of IPv6.
        network: what the address is part of.
    """

    address: bytes
    network: bytes


async def insert_customer(connection: Connection, customer: Customer, *, origin: Origin) -> None:
    """Store a new customer.

    Raises:
        EmailTaken: the address has an account, in whatever case.
        InstanceNameTaken: the instance's name belongs to another customer.
    """
    # No unique violation: PostgreSQL would write it to its log, with the e-mail address.
    cursor = await connection.execute(
        """
        INSERT INTO customers (customer_id, email, email_key, password_hash, company_name, full_name,
                               instance_name, created_at, signup_address, signup_network)
        VALUES (%(customer_id)s, %(email)s, %(email_key)s, %(password_hash)s, %(company_name)s, %(full_name)s,
                %(instance_name)s, %(created_at)s, %(address)s, %(network)s)
        ON CONFLICT DO NOTHING
        """,
        {**vars(customer), **vars(origin)},
    )
    if cursor.rowcount == 1:
        return
    if await find_by_email(connection, customer.email_key):
        raise of_field(EmailTaken, "email", "email already has an account; log in instead")
    raise InstanceNameTaken(customer.instance_name)


async def set_role(connection: Connection, *, email_key: str, role: Role) -> str | None:
    """Give the customer with this address a role; return their customer_id, or None when there is none."""
    cursor = await connection.execute(
        "UPDATE customers SET role = %s WHERE email_key = %s RETURNING customer_id", [role, email_key]
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def set_verified(connection: Connection, *, email_key: str) -> str | None:
    """Note that this address is verified, unless that is known; return the customer_id, or None when there is none."""
    cursor = await connection.execute(
        """
        UPDATE customers SET email_verified_at = coalesce(email_verified_at, now()) WHERE email_key = %s
        RETURNING customer_id
        """,
        [email_key],
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def hold_network(connection: Connection, network: bytes) -> None:
    """Make other signups from the network wait for the end of this transaction, so that each counts the others."""
    key = int.from_bytes(network[:8], "big", signed=True)
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [key])


async def seconds_without_room(
    connection: Connection, origin: Origin, *, per_address: int, per_network: int, in_all: int
) -> tuple[int, int]:
    """Return how long no stack more may come from there, and from anywhere, in seconds; 0 when one may come now.

    Counted are trials that have not ended, of customers whose e-mail address is not verified.

    Args:
        connection: a transaction.
        origin: where the signup comes from.
        per_address: how many stacks there may be from one address.
        per_network: how many stacks there may be from one network.
        in_all: how many there may be.
    """
    cursor = await connection.execute(
        """
        WITH trials AS NOT MATERIALIZED (
            SELECT signup_address, signup_network, trial_ends_at FROM customers JOIN subscriptions USING (customer_id)
            WHERE email_verified_at IS NULL AND status = 'trialing' AND trial_ends_at > now()
        ), last AS (
            (SELECT true AS near, trial_ends_at FROM trials
             WHERE signup_network = %(network)s AND signup_address = %(address)s
             ORDER BY trial_ends_at DESC OFFSET %(per_address)s - 1 LIMIT 1)
            UNION ALL
            (SELECT true, trial_ends_at FROM trials WHERE signup_network = %(network)s
             ORDER BY trial_ends_at DESC OFFSET %(per_network)s - 1 LIMIT 1)
            UNION ALL
            (SELECT false, trial_ends_at FROM trials ORDER BY trial_ends_at DESC OFFSET %(in_all)s - 1 LIMIT 1)
        ), seconds AS (
            SELECT near, ceil(extract(epoch FROM trial_ends_at - now()))::bigint AS "left" FROM last
        )
        SELECT coalesce(max("left") FILTER (WHERE near), 0), coalesce(max("left") FILTER (WHERE NOT near), 0)
        FROM seconds
        """,
        {**vars(origin), "per_address": per_address, "per_network": per_network, "in_all": in_all},
    )
    row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def insert_subscription(connection: Connection, *, customer: Customer, subscription: Subscription) -> None:
    """Store a new customer's subscription."""
    await connection.execute(
        """
        INSERT INTO subscriptions (customer_id, plan, status, trial_ends_at, created_at, updated_at)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        [
            customer.customer_id,
            subscription.plan,
            subscription.status,
            subscription.trial_ends_at,
            customer.created_at,
            customer.created_at,
        ],
    )


_SELECT_CUSTOMER: LiteralString = """
    SELECT customer_id, email, email_key, password_hash, company_name, full_name, instance_name, created_at
    FROM customers
"""


async def find_by_email(connection: Connection, email_key: str) -> Customer | None:
    """Return the customer with this address, or None."""
    async with connection.cursor(row_factory=class_row(Customer)) as cursor:
        await cursor.execute(_SELECT_CUSTOMER + "WHERE email_key = %s", [email_key])
        return await cursor.fetchone()


async def find_instance_name(connection: Connection, customer_id: str) -> str | None:
    """Return the name of the customer's instance, or None without such a customer."""
    cursor = await connection.execute("SELECT instance_name FROM customers WHERE customer_id = %s", [customer_id])
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def load(connection: Connection, customer_id: str) -> Account | None:
    """Return a customer with subscription and newest license, or None."""
    async with connection.cursor(row_factory=class_row(Customer)) as customers:
        await customers.execute(_SELECT_CUSTOMER + "WHERE customer_id = %s", [customer_id])
        customer = await customers.fetchone()
    async with connection.cursor(row_factory=class_row(Subscription)) as subscriptions:
        await subscriptions.execute(
            "SELECT plan, status, trial_ends_at FROM subscriptions WHERE customer_id = %s", [customer_id]
        )
        subscription = await subscriptions.fetchone()
    license = await newest_license(connection, customer_id)
    if customer is None or subscription is None or license is None:
        return None
    return Account(customer=customer, subscription=subscription, license=license)
