"""Signup and login. A signup is one transaction: account, subscription, license, audit row, outbox row, session."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from billing_api.accounts.models import LoginRequest, SignupRequest
from billing_api.accounts.passwords import Passwords
from billing_api.accounts.sessions import Session, Sessions
from billing_api.db import accounts as rows
from billing_api.db import idempotency, throttle
from billing_api.db.accounts import Account, Customer, Subscription
from billing_api.db.pool import Connection, Database
from billing_api.deployments import apply
from billing_api.errors import FieldError, InstanceNameTaken, KeyReused, TooManyAttempts, WrongCredentials
from billing_api.licensing.issuing import LicenseIssuer
from billing_api.licensing.licenses import Term
from billing_api.metrics import Metrics
from billing_api.settings import Settings

#: 48 random bits: one in 10^7 signups of a million customers meets a name that is taken, and then draws again.
_NAME_DIGITS = 12
_NAME_DRAWS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SignedUp:
    """The outcome of a signup; ``replayed`` when an earlier request with the same key did the work."""

    account: Account
    session: Session
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class LoggedIn:
    """The outcome of a login."""

    account: Account
    session: Session


def instance_name(customer: UUID) -> str:
    """Return the DNS label for a customer's instance: it starts with a letter, which some names made of it need."""
    return f"c{customer.hex[:_NAME_DIGITS]}"


class Accounts:
    """What can be done with accounts."""

    def __init__(
        self,
        *,
        database: Database,
        passwords: Passwords,
        issuer: LicenseIssuer,
        sessions: Sessions,
        settings: Settings,
        metrics: Metrics,
        fingerprint_key: bytes,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._issuer = issuer
        self._sessions = sessions
        self._settings = settings
        self._metrics = metrics
        self._fingerprint_key = fingerprint_key
        self._new_id = new_id

    async def sign_up(self, request: SignupRequest, *, key: str | None) -> SignedUp:
        """Create an account with a trial, and have its instance deployed.

        Args:
            request: a checked signup.
            key: the Idempotency-Key, if any: the same request with the same key creates nothing new.

        Raises:
            EmailTaken, KeyReused, RequestInProgress, ServiceUnavailable, DatabaseUnavailable
        """
        replayed = await self._replay(request, key) if key else None
        if replayed:
            return replayed
        password_hash = await self._passwords.hash(request.password)
        for _ in range(_NAME_DRAWS):
            try:
                return await self._create(request, password_hash=password_hash, key=key)
            except InstanceNameTaken as error:
                log.warning("Instance name %s is taken, drawing another", error)
        raise InstanceNameTaken(f"{_NAME_DRAWS} names in a row; is the source of randomness broken?")

    async def log_in(self, request: LoginRequest, *, client: str) -> LoggedIn:
        """Check a password and begin a session.

        Takes the same steps, and so the same time, whether or not there is such an account.

        Args:
            request: a checked login.
            client: the caller's address, to count tries by.

        Raises:
            WrongCredentials, TooManyAttempts, DatabaseUnavailable
        """
        bucket = throttle.bucket(email_key=request.email_key, client=client)
        async with self._database.transaction() as connection:
            await self._count_attempt(connection, bucket)
            customer = await rows.find_by_email(connection, request.email_key)
        correct = await self._passwords.verify(request.password, customer.password_hash if customer else None)
        if customer is None or not correct:
            self._metrics.logins.labels("wrong").inc()
            detail = "email or password is wrong"
            raise WrongCredentials(detail, errors=[FieldError("password", detail)])
        async with self._database.transaction() as connection:
            await throttle.forget(connection, bucket)
            outcome = await self._welcome(connection, customer.customer_id)
        self._metrics.logins.labels("success").inc()
        return LoggedIn(account=outcome.account, session=outcome.session)

    async def _create(self, request: SignupRequest, *, password_hash: str, key: str | None) -> SignedUp:
        now = datetime.now(UTC).replace(microsecond=0)
        customer = self._new_customer(request, password_hash=password_hash, now=now)
        async with self._database.transaction() as connection:
            mine = key is None or await idempotency.claim(
                connection, self._claim(request, key=key, customer_id=customer.customer_id)
            )
            if mine:
                outcome = await self._store(connection, customer)
        if mine:
            self._metrics.signups.inc()
            log.info("Customer %s signed up, instance %s", customer.customer_id, customer.instance_name)
            return outcome
        replayed = await self._replay(request, key) if key else None
        return replayed or await self._create(request, password_hash=password_hash, key=key)

    def _new_customer(self, request: SignupRequest, *, password_hash: str, now: datetime) -> Customer:
        identity = self._new_id()
        return Customer(
            customer_id=f"cust-{identity.hex}",
            email=request.email,
            email_key=request.email_key,
            password_hash=password_hash,
            company_name=request.company_name,
            full_name=request.full_name,
            instance_name=instance_name(identity),
            created_at=now,
        )

    async def _store(self, connection: Connection, customer: Customer) -> SignedUp:
        trial_ends_at = customer.created_at + timedelta(days=self._settings.default_trial_days)
        subscription = Subscription(plan="starter", status="trialing", trial_ends_at=trial_ends_at)
        await rows.insert_customer(connection, customer)
        await rows.insert_subscription(connection, customer=customer, subscription=subscription)
        license = await self._issuer.issue(connection, _trial(customer, trial_ends_at), reason="trial_signup")
        await apply.order(connection, customer.customer_id)
        session = await self._sessions.begin(connection, customer_id=customer.customer_id, now=datetime.now(UTC))
        return SignedUp(account=Account(customer=customer, subscription=subscription, license=license), session=session)

    async def _replay(self, request: SignupRequest, key: str) -> SignedUp | None:
        """Answer a signup from what an earlier one with the same key has stored; None when there was none.

        The password is checked like at a login, so that nothing of it has to be kept with the key.
        """
        async with self._database.transaction() as connection:
            earlier = await idempotency.find(connection, operation="signup", key=key)
            account = await rows.load(connection, earlier.customer_id) if earlier else None
        if earlier is None or account is None:
            return None
        mine = self._claim(request, key=key, customer_id=earlier.customer_id)
        same = hmac.compare_digest(mine.fingerprint, earlier.fingerprint)
        if not same or not await self._passwords.verify(request.password, account.customer.password_hash):
            detail = "Idempotency-Key was used for a request with another body; send a new key"
            raise KeyReused(detail, errors=[FieldError("Idempotency-Key", detail)])
        async with self._database.transaction() as connection:
            outcome = await self._welcome(connection, earlier.customer_id)
        return SignedUp(account=outcome.account, session=outcome.session, replayed=True)

    def _claim(self, request: SignupRequest, *, key: str, customer_id: str) -> idempotency.Claim:
        content = json.dumps([request.email_key, request.email, request.company_name, request.full_name])
        fingerprint = hmac.digest(self._fingerprint_key, content.encode(), hashlib.sha256)
        return idempotency.Claim(operation="signup", key=key, fingerprint=fingerprint, customer_id=customer_id)

    async def _welcome(self, connection: Connection, customer_id: str) -> LoggedIn:
        account = await rows.load(connection, customer_id)
        if account is None:
            raise RuntimeError(f"customer {customer_id} has no subscription or no license")
        session = await self._sessions.begin(connection, customer_id=customer_id, now=datetime.now(UTC))
        return LoggedIn(account=account, session=session)

    async def _count_attempt(self, connection: Connection, bucket: bytes) -> None:
        attempts, seconds = await throttle.count(connection, bucket, window_seconds=self._settings.limit_window)
        if attempts > self._settings.login_attempts_per_account:
            self._metrics.logins.labels("throttled").inc()
            detail = f"email was tried too often from your address; try again in {seconds} s"
            raise TooManyAttempts(detail, errors=[FieldError("email", detail)], headers={"Retry-After": str(seconds)})


def _trial(customer: Customer, trial_ends_at: datetime) -> Term:
    return Term(
        customer_id=customer.customer_id,
        instance_name=customer.instance_name,
        plan="trial",
        issued_at=customer.created_at,
        expires_at=trial_ends_at,
    )
