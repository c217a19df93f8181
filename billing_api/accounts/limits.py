"""How often accounts may be tried and made: counted in PostgreSQL, before any password is looked at.

Narrow buckets are counted first, and a call that is refused counts nowhere: whoever has used up what one address may
do can neither lock an account nor use up what all may do together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from billing_api.accounts.models import LoginRequest, SignupRequest
from billing_api.accounts.origins import NETWORK_FACTOR, Pseudonyms, place_of
from billing_api.db import limits as rows
from billing_api.db.pool import Connection, Database
from billing_api.errors import TooManyAttempts, of_field
from billing_api.http.call import Call
from billing_api.http.limits import Limit
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
    limit: Limit
    name: bytes
    most: int


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

    async def check(self, limits: Sequence[Limit], call: Call) -> None:
        """Count the call of a row; see `count`."""
        await self.count(limits, account=_account_of(call), client=call.client)

    async def count(self, limits: Sequence[Limit], *, account: str | None, client: str) -> None:
        """Count one call.

        Args:
            limits: the bounds it is subject to.
            account: whose account is tried; without one, limits per account do not count.
            client: the caller's address.

        Raises:
            TooManyAttempts: with the seconds after which none of the bounds refuses any more.
        """
        async with self._database.transaction() as connection:
            await rows.forgive_crashes(connection)
            buckets = await self._buckets(connection, limits, account=account, client=client)
            for position, bucket in enumerate(buckets):
                if not await rows.count(
                    connection, bucket.name, most=bucket.most, window_seconds=self._settings.limit_window
                ):
                    rest = [(full.name, full.most) for full in buckets[position:]]
                    # What was counted so far is rolled back.
                    raise self._refusal(bucket.limit, await rows.seconds_full(connection, rest))

    async def succeeded(self, connection: Connection, limits: Sequence[Limit], *, account: str, client: str) -> None:
        """Take a counted call back whose password was right, and know the account's owner at this place from now on."""
        for bucket in await self._buckets(connection, limits, account=account, client=client):
            if bucket.limit.per == "account":
                await rows.forget(connection, bucket.name)
            else:
                await rows.take_back(connection, bucket.name)
        await self.know(connection, account=account, client=client)

    async def know(self, connection: Connection, *, account: str, client: str) -> None:
        """Count tries for the account from this place apart from those of strangers."""
        await rows.remember(connection, self._known(account, client), days=_KNOWN_DAYS)

    async def _buckets(
        self, connection: Connection, limits: Sequence[Limit], *, account: str | None, client: str
    ) -> list[_Bucket]:
        place = place_of(client)
        owners: dict[str, tuple[str, ...]] = {"address": (place.address,), "network": (place.network,), "all": ()}
        if account is not None:
            known = await rows.remembers(connection, self._known(account, client))
            owners["account"] = (account, place.address) if known else (account,)
        ordered = sorted(limits, key=lambda limit: _ORDER.index(limit.per))
        return [self._bucket(limit, owners[limit.per]) for limit in ordered if limit.per in owners]

    def _bucket(self, limit: Limit, owner: tuple[str, ...]) -> _Bucket:
        most = limit.most(self._settings)
        factor = NETWORK_FACTOR if limit.per == "network" else 1
        return _Bucket(limit=limit, name=self._pseudonyms.of(limit.name, limit.per, *owner), most=most * factor)

    def _known(self, account: str, client: str) -> bytes:
        return self._pseudonyms.of("known", account, place_of(client).address)

    def _refusal(self, limit: Limit, seconds: int) -> TooManyAttempts:
        self._metrics.limited.labels(limit.name, limit.per).inc()
        field, what = _WORDS[limit.per]
        detail = f"{what.format(name=limit.name)}; try again in {seconds} s"
        return of_field(TooManyAttempts, field, detail, headers={"Retry-After": str(seconds)})


def _account_of(call: Call) -> str | None:
    if call.caller is not None:
        return call.caller.customer_id
    return call.body.email_key if isinstance(call.body, LoginRequest | SignupRequest) else None


#: The field that is to blame, and what it says.
_WORDS: Final = {
    "account": ("email", "email was tried too often"),
    "address": ("client", "client: there were too many {name}s from your address"),
    "network": ("client", "client: there were too many {name}s from your network"),
    "all": ("client", "client: there are too many {name}s at the moment"),
}
