"""How often accounts may be tried and made: counted in PostgreSQL, before any password is looked at.

Narrow buckets are counted first, and a call that is refused counts nowhere: whoever has used up what one address may
do can neither lock an account nor use up what all may do together. Nor the connections to the database: what was full a
moment ago is refused without asking it (floods.py).
"""

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from billing_api.accounts.floods import Refusals, Turns
from billing_api.accounts.origins import Pseudonyms
from billing_api.db import limits as rows
from billing_api.db.pool import Connection, Database
from billing_api.errors import TooManyAttempts, of_field
from billing_api.http.limits import Limit
from billing_api.http.places import NETWORK_FACTOR, Place, place_of
from billing_api.metrics import Metrics
from billing_api.settings import Settings

#: Not bounded in all: that would let anybody keep all customers out.
LOGIN_LIMITS: Final = (
    Limit(name="login", per="address", most=lambda settings: settings.login_attempts_per_address),
    Limit(name="login", per="network", most=lambda settings: settings.login_attempts_per_address),
    Limit(name="login", per="account", most=lambda settings: settings.login_attempts_per_account),
)
SIGNUP_LIMITS: Final = (
    Limit(name="signup", per="address", most=lambda settings: settings.signups_per_address),
    Limit(name="signup", per="network", most=lambda settings: settings.signups_per_address),
    Limit(name="signup", per="all", most=lambda settings: settings.signups_in_all),
)

#: From narrow to wide, so that who is refused does not keep others waiting at a wide bucket; also the order in which
#: rows are locked, so that no two calls wait for each other.
_ORDER: Final = ("address", "network", "account", "all")
#: How long the place of a successful login is known: longer than a customer stays away.
_KNOWN_DAYS: Final = 30


@dataclass(frozen=True, kw_only=True)
class _Bucket:
    """Where calls are counted; `key` is what it is remembered by here, without asking whose place it is."""

    limit: Limit
    name: bytes
    most: int
    key: Hashable


class Limits:
    """Counts calls, for all replicas together.

    Tries for an account count together wherever they come from, except from where its owner has logged in before:
    there they count apart, so that a stranger's tries do not lock out the owner.
    """

    def __init__(self, database: Database, *, pseudonyms: Pseudonyms, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._pseudonyms = pseudonyms
        self._settings = settings
        self._metrics = metrics
        self._refusals = Refusals()
        self._turns = Turns(seconds=database.answer_seconds)

    async def count(self, limits: Sequence[Limit], *, account: str | None, client: str) -> None:
        """Count one call.

        Args:
            limits: the bounds it is subject to.
            account: whose account is tried; without one, limits per account do not count.
            client: the caller's address.

        Raises:
            TooManyAttempts: with the seconds after which none of the bounds refuses any more.
            DatabaseUnavailable
        """
        place = place_of(client)
        self._refuse_at_once(limits, account=account, place=place)
        async with self._turn(limits, place) as left:
            # One that was counted meanwhile may have filled a bucket, or found it full.
            self._refuse_at_once(limits, account=account, place=place)
            async with self._database.transaction(seconds=left) as connection:
                await rows.forgive_crashes(connection)
                buckets = await self._buckets(connection, limits, account=account, place=place)
                await self._count(connection, buckets)

    async def _count(self, connection: Connection, buckets: Sequence[_Bucket]) -> None:
        for position, bucket in enumerate(buckets):
            counted = await rows.count(
                connection, bucket.name, most=bucket.most, window_seconds=self._settings.limit_window
            )
            if not counted:
                # What was counted so far is rolled back.
                raise await self._found_full(connection, buckets[position:])

    async def _found_full(self, connection: Connection, buckets: Sequence[_Bucket]) -> TooManyAttempts:
        """Return the refusal by the first bucket, and remember all that are full."""
        full = await rows.full(connection, [(bucket.name, bucket.most) for bucket in buckets])
        for bucket in buckets:
            if bucket.name in full:
                self._refusals.remember(bucket.key, seconds=full[bucket.name])
        return self._refusal(buckets[0].limit, max(full.values(), default=0))

    def _refuse_at_once(self, limits: Sequence[Limit], *, account: str | None, place: Place) -> None:
        full = [
            (limit, seconds)
            for limit in _in_order(limits)
            if (seconds := self._refusals.seconds(_key(limit, account=account, place=place)))
        ]
        if full:
            raise self._refusal(full[0][0], max(seconds for _, seconds in full))

    @asynccontextmanager
    async def _turn(self, limits: Sequence[Limit], place: Place) -> AsyncIterator[float]:
        """Wait until it is the address's turn; give the seconds that are left for the database."""
        limit = next((limit for limit in limits if limit.per == "address"), None)
        if limit is None:
            yield self._database.answer_seconds
            return
        # More at once than are allowed in a whole window would be refused anyway.
        turn = self._turns.of((limit.name, place.address), most=self._most(limit))
        if turn is None:
            raise self._refusal(limit, 1)
        async with turn as left:
            yield left

    async def succeeded(self, connection: Connection, limits: Sequence[Limit], *, account: str, client: str) -> None:
        """Take a counted call back whose password was right, and know the account's owner at this place from now on."""
        for bucket in await self._buckets(connection, limits, account=account, place=place_of(client)):
            if bucket.limit.per == "account":
                await rows.forget(connection, bucket.name)
            else:
                await rows.take_back(connection, bucket.name)
            self._refusals.forget(bucket.key)
        await self.know(connection, account=account, client=client)

    async def know(self, connection: Connection, *, account: str, client: str) -> None:
        """Count tries for the account from this place apart from those of strangers."""
        await rows.remember(connection, self._known(account, place_of(client)), days=_KNOWN_DAYS)

    async def _buckets(
        self, connection: Connection, limits: Sequence[Limit], *, account: str | None, place: Place
    ) -> list[_Bucket]:
        owners: dict[str, tuple[str, ...]] = {"address": (place.address,), "network": (place.network,), "all": ()}
        if account is not None:
            known = await rows.remembers(connection, self._known(account, place))
            owners["account"] = (account, place.address) if known else (account,)
        return [
            _Bucket(
                limit=limit,
                name=self._pseudonyms.of(limit.name, limit.per, *owners[limit.per]),
                most=self._most(limit),
                key=_key(limit, account=account, place=place),
            )
            for limit in _in_order(limits)
            if limit.per in owners
        ]

    def _most(self, limit: Limit) -> int:
        return limit.most(self._settings) * (NETWORK_FACTOR if limit.per == "network" else 1)

    def _known(self, account: str, place: Place) -> bytes:
        return self._pseudonyms.of("known", account, place.address)

    def _refusal(self, limit: Limit, seconds: int) -> TooManyAttempts:
        self._metrics.limited.labels(limit.name, limit.per).inc()
        field, what = _WORDS[limit.per]
        detail = f"{what.format(name=limit.name)}; try again in {seconds} s"
        return of_field(TooManyAttempts, field, detail, headers={"Retry-After": str(seconds)})


def _in_order(limits: Sequence[Limit]) -> list[Limit]:
    return sorted(limits, key=lambda limit: _ORDER.index(limit.per))


def _key(limit: Limit, *, account: str | None, place: Place) -> Hashable:
    """Return what a bucket is remembered by; an account's depends on the place, which may be its owner's."""
    owners: dict[str, Hashable] = {
        "address": place.address,
        "network": place.network,
        "account": (account, place.address),
        "all": None,
    }
    return (limit.name, limit.per, owners[limit.per])


#: The field that is to blame, and what it says.
_WORDS: Final = {
    "account": ("email", "email was tried too often"),
    "address": ("client", "client: there were too many {name}s from your address"),
    "network": ("client", "client: there were too many {name}s from your network"),
    "all": ("client", "client: there are too many {name}s at the moment"),
}
