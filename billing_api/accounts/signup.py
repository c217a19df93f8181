"""Signup: one transaction of account, subscription, license, audit row, outbox row and session."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from billing_api.accounts.limits import Limits
from billing_api.accounts.models import SignupRequest
from billing_api.accounts.origins import Pseudonyms
from billing_api.accounts.passwords import Passwords
from billing_api.accounts.replays import OPERATION, Replays
from billing_api.accounts.sessions import Session, Sessions
from billing_api.db import accounts as rows
from billing_api.db import idempotency
from billing_api.db.accounts import Account, Customer, Origin, Subscription
from billing_api.db.pool import Connection, Database
from billing_api.deployments import apply
from billing_api.errors import InstanceNameTaken, TooManyStacks, of_field
from billing_api.http.places import NETWORK_FACTOR
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
class _Asked:
    """A signup on its way: what was asked for, by whom, under which Idempotency-Key."""

    request: SignupRequest
    key: str | None
    client: str
    origin: Origin


def instance_name(customer: UUID) -> str:
    """Return the DNS label for a customer's instance: it starts with a letter, which some names made of it need."""
    return f"c{customer.hex[:_NAME_DIGITS]}"


class Signups:
    """Makes accounts."""

    def __init__(
        self,
        *,
        database: Database,
        passwords: Passwords,
        issuer: LicenseIssuer,
        sessions: Sessions,
        replays: Replays,
        limits: Limits,
        pseudonyms: Pseudonyms,
        settings: Settings,
        metrics: Metrics,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._issuer = issuer
        self._sessions = sessions
        self._replays = replays
        self._limits = limits
        self._pseudonyms = pseudonyms
        self._settings = settings
        self._metrics = metrics
        self._new_id = new_id

    async def sign_up(self, request: SignupRequest, *, key: str | None, client: str) -> SignedUp:
        """Create an account with a trial, and have its instance deployed.

        Args:
            request: a checked signup; the caller has counted it before (SIGNUP_LIMITS).
            key: the Idempotency-Key, if any: the same request with the same key creates nothing new.
            client: the caller's address.

        Raises:
            EmailTaken, KeyReused, RequestInProgress, TooManyAttempts, TooManyStacks, ServiceUnavailable,
            DatabaseUnavailable
        """
        asked = _Asked(request=request, key=key, client=client, origin=self._pseudonyms.origin(client))
        if earlier := await self._earlier(asked):
            return await self._replay(asked, earlier)
        password_hash = await self._passwords.hash(request.password)
        for _ in range(_NAME_DRAWS):
            try:
                return await self._create(asked, password_hash=password_hash)
            except InstanceNameTaken as error:
                log.warning("Instance name %s is taken, drawing another", error)
        raise InstanceNameTaken(f"{_NAME_DRAWS} names in a row; is the source of randomness broken?")

    async def _earlier(self, asked: _Asked) -> idempotency.Claim | None:
        """Return who has used the key; when nobody has, a signup that will be refused is so before it is hashed."""
        async with self._database.transaction() as connection:
            earlier = None
            if asked.key is not None:
                earlier = await idempotency.find(connection, operation=OPERATION, key=asked.key)
            if earlier is None:
                await self._require_room(connection, asked.origin)
        return earlier

    async def _replay(self, asked: _Asked, earlier: idempotency.Claim) -> SignedUp:
        outcome = await self._replays.answer(asked.request, earlier, client=asked.client)
        return SignedUp(account=outcome.account, session=outcome.session, replayed=True)

    async def _create(self, asked: _Asked, *, password_hash: str) -> SignedUp:
        now = datetime.now(UTC).replace(microsecond=0)
        customer = self._new_customer(asked.request, password_hash=password_hash, now=now)
        async with self._database.transaction() as connection:
            mine = await self._claim(connection, customer, asked)
            outcome = await self._store(connection, customer, asked) if mine else None
        if outcome is not None:
            self._metrics.signups.inc()
            log.info("Customer %s signed up, instance %s", customer.customer_id, customer.instance_name)
            return outcome
        if earlier := await self._earlier(asked):
            return await self._replay(asked, earlier)
        return await self._create(asked, password_hash=password_hash)

    async def _claim(self, connection: Connection, customer: Customer, asked: _Asked) -> bool:
        """Take the Idempotency-Key; False when another request has been quicker."""
        if asked.key is None:
            return True
        claim = self._replays.claim(asked.request, key=asked.key, customer_id=customer.customer_id)
        return await idempotency.claim(connection, claim)

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

    async def _store(self, connection: Connection, customer: Customer, asked: _Asked) -> SignedUp:
        trial_ends_at = customer.created_at + timedelta(days=self._settings.default_trial_days)
        subscription = Subscription(plan="starter", status="trialing", trial_ends_at=trial_ends_at)
        await rows.hold_network(connection, asked.origin.network)
        await self._require_room(connection, asked.origin)
        await rows.insert_customer(connection, customer, origin=asked.origin)
        await rows.insert_subscription(connection, customer=customer, subscription=subscription)
        license = await self._issuer.issue(connection, _trial(customer, trial_ends_at), reason="trial_signup")
        await apply.order(connection, customer.customer_id)
        await self._limits.know(connection, account=customer.email_key, client=asked.client)
        session = await self._sessions.begin(connection, customer_id=customer.customer_id, now=datetime.now(UTC))
        return SignedUp(account=Account(customer=customer, subscription=subscription, license=license), session=session)

    async def _require_room(self, connection: Connection, origin: Origin) -> None:
        """Refuse a trial where too many run; in all about as many as the setting says, since that takes no lock."""
        most = self._settings.unverified_stacks_per_address
        near, anywhere = await rows.seconds_without_room(
            connection,
            origin,
            per_address=most,
            per_network=most * NETWORK_FACTOR,
            in_all=self._settings.unverified_stacks_in_all,
        )
        if not near and not anywhere:
            return
        per, where = ("address", " that were begun from your address or network and") if near else ("all", ",")
        self._metrics.limited.labels("stack", per).inc()
        seconds = max(near, anywhere)
        detail = (
            f"client: too many trials run already{where} whose e-mail address is not verified; verify those, or try "
            f"again in {seconds} s, when one of them has ended"
        )
        raise of_field(TooManyStacks, "client", detail, headers={"Retry-After": str(seconds)})


def _trial(customer: Customer, trial_ends_at: datetime) -> Term:
    return Term(
        customer_id=customer.customer_id,
        instance_name=customer.instance_name,
        plan="trial",
        issued_at=customer.created_at,
        expires_at=trial_ends_at,
    )
