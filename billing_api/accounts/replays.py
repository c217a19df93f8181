"""The same signup again, by its Idempotency-Key: answered like the first time, once the password is right.

A replay is a login in disguise. So it counts as one, before the password is looked at; and whatever is wrong with it,
body or password, it takes as long and gets the same answer.
"""

import hashlib
import hmac
import json

from billing_api.accounts.limits import LOGIN_LIMITS, Limits
from billing_api.accounts.login import LoggedIn, Logins
from billing_api.accounts.models import SignupRequest
from billing_api.accounts.passwords import Passwords
from billing_api.db import accounts as rows
from billing_api.db.idempotency import Claim
from billing_api.db.pool import Database
from billing_api.errors import KeyReused, of_field
from billing_api.http.places import place_of

OPERATION = "signup"


class Replays:
    """Answers signups that were there before.

    Args:
        secret: key of the hashes of requests; with another one, keys of the last 24 hours belong to other requests.
    """

    def __init__(
        self, *, database: Database, passwords: Passwords, logins: Logins, limits: Limits, secret: bytes
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._logins = logins
        self._limits = limits
        self._secret = secret

    def claim(self, request: SignupRequest, *, key: str, customer_id: str) -> Claim:
        """Return what is kept of a request: all but the password, as a keyed hash."""
        content = json.dumps([request.email_key, request.email, request.company_name, request.full_name])
        fingerprint = hmac.digest(self._secret, content.encode(), hashlib.sha256)
        return Claim(operation=OPERATION, key=key, fingerprint=fingerprint, customer_id=customer_id)

    async def answer(self, request: SignupRequest, earlier: Claim, *, client: str) -> LoggedIn:
        """Return what the earlier request with the same key has made, with a new session.

        Raises:
            KeyReused: the earlier request had another body.
            TooManyAttempts, ServiceUnavailable, DatabaseUnavailable
        """
        await self._limits.count(LOGIN_LIMITS, account=request.email_key, client=client)
        password_hash = await self._password_hash(earlier.customer_id)
        mine = self.claim(request, key=earlier.key, customer_id=earlier.customer_id)
        same = hmac.compare_digest(mine.fingerprint, earlier.fingerprint)
        address = place_of(client).address
        if not await self._passwords.verify(request.password, password_hash if same else None, address=address):
            detail = "Idempotency-Key was used for a request with another body; send a new key"
            raise of_field(KeyReused, "Idempotency-Key", detail)
        return await self._logins.welcome(earlier.customer_id, email_key=request.email_key, client=client)

    async def _password_hash(self, customer_id: str) -> str | None:
        async with self._database.transaction() as connection:
            account = await rows.load(connection, customer_id)
        return account.customer.password_hash if account else None
