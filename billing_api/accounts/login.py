"""Login: a password is checked, and a session begins."""

from dataclasses import dataclass
from datetime import UTC, datetime

from billing_api.accounts.limits import LOGIN_LIMITS, Limits
from billing_api.accounts.models import LoginRequest
from billing_api.accounts.passwords import Passwords
from billing_api.accounts.sessions import Session, Sessions
from billing_api.db import accounts as rows
from billing_api.db.accounts import Account
from billing_api.db.pool import Database
from billing_api.errors import WrongCredentials, of_field
from billing_api.http.places import place_of
from billing_api.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class LoggedIn:
    """The outcome of a login."""

    account: Account
    session: Session


class Logins:
    """Lets customers in."""

    def __init__(
        self, *, database: Database, passwords: Passwords, sessions: Sessions, limits: Limits, metrics: Metrics
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sessions = sessions
        self._limits = limits
        self._metrics = metrics

    async def log_in(self, request: LoginRequest, *, client: str) -> LoggedIn:
        """Check a password and begin a session.

        Takes the same steps, and so the same time, whether or not there is such an account. The caller has counted the
        try before (LOGIN_LIMITS).

        Args:
            request: a checked login.
            client: the caller's address.

        Raises:
            WrongCredentials, ServiceUnavailable, DatabaseUnavailable
        """
        async with self._database.transaction() as connection:
            customer = await rows.find_by_email(connection, request.email_key)
        password_hash = customer.password_hash if customer else None
        correct = await self._passwords.verify(request.password, password_hash, address=place_of(client).address)
        if customer is None or not correct:
            self._metrics.logins.labels("wrong").inc()
            raise of_field(WrongCredentials, "password", "email or password is wrong")
        outcome = await self.welcome(customer.customer_id, email_key=request.email_key, client=client)
        self._metrics.logins.labels("success").inc()
        return outcome

    async def welcome(self, customer_id: str, *, email_key: str, client: str) -> LoggedIn:
        """Begin a session for a customer whose password was right, and take the counted try back."""
        async with self._database.transaction() as connection:
            account = await rows.load(connection, customer_id)
            if account is None:
                raise RuntimeError(f"customer {customer_id} has no subscription or no license")
            await self._limits.succeeded(connection, LOGIN_LIMITS, account=email_key, client=client)
            session = await self._sessions.begin(connection, customer_id=customer_id, now=datetime.now(UTC))
        return LoggedIn(account=account, session=session)
