"""Customers with their subscription and licenses, as rows."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, LiteralString

import psycopg
from psycopg.rows import class_row

from billing_api.db.licenses import License, newest_license
from billing_api.db.pool import Connection
from billing_api.errors import EmailTaken, FieldError, InstanceNameTaken

SubscriptionPlan = Literal["starter", "professional", "enterprise"]


@dataclass(frozen=True, kw_only=True)
class Customer:
    """One account. ``email_key`` is the form in which an address is unique."""

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


async def insert_customer(connection: Connection, customer: Customer) -> None:
    """Store a new customer.

    Raises:
        EmailTaken: the address has an account, in whatever case.
        InstanceNameTaken: the instance's name belongs to another customer.
    """
    try:
        await connection.execute(
            """
            INSERT INTO customers (customer_id, email, email_key, password_hash, company_name, full_name,
                                   instance_name, created_at)
            VALUES (%(customer_id)s, %(email)s, %(email_key)s, %(password_hash)s, %(company_name)s, %(full_name)s,
                    %(instance_name)s, %(created_at)s)
            """,
            vars(customer),
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "customers_email_taken":
            detail = "email already has an account; log in instead"
            raise EmailTaken(detail, errors=[FieldError("email", detail)]) from None
        raise InstanceNameTaken(customer.instance_name) from None


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
