"""Issuing: the key that may sign now, the customer's next number, the signature and the row, in one transaction."""

import asyncio
import math
from collections.abc import Sequence
from uuid import uuid4

from billing_api.db import licenses, signing_keys
from billing_api.db.licenses import License
from billing_api.db.pool import Connection
from billing_api.errors import ServiceUnavailable
from billing_api.licensing.keys import KeyRing
from billing_api.licensing.licenses import Term, sign

#: What a client is told to wait where nobody knows: as long as a rotation usually takes to be noticed.
_UNKNOWN_SECONDS = 60.0


class LicenseIssuer:
    """Issues licenses under one issuer, with whichever of our keys may sign."""

    def __init__(self, ring: KeyRing, *, issuer: str) -> None:
        self._ring = ring
        self._issuer = issuer

    async def issue(self, connection: Connection, term: Term, *, reason: str) -> License:
        """Sign and store a license as part of the caller's transaction, which holds the customer's row.

        Args:
            connection: its transaction has inserted the customer, or called `licenses.lock_holder`.
            term: whom it is for.
            reason: why it is made, for the history: a word such as ``trial_signup``.

        Raises:
            ServiceUnavailable: none of our keys may sign now; ``Retry-After`` says when one does.
        """
        # The ring may let go of a key meanwhile.
        keys = {key.kid: key for key in self._ring.keys}
        kid = await signing_keys.choose(connection, list(keys))
        if kid is None:
            raise await _not_now(connection, list(keys))
        sequence = await licenses.next_sequence(connection, term.customer_id)
        license = await asyncio.to_thread(
            sign, term, key=keys[kid], issuer=self._issuer, jti=uuid4(), sequence=sequence
        )
        await licenses.insert_license(connection, license, customer_id=term.customer_id, reason=reason)
        return license


async def _not_now(connection: Connection, kids: Sequence[str]) -> ServiceUnavailable:
    wait = await signing_keys.seconds_until_one_signs(connection, kids)
    seconds = math.ceil(_UNKNOWN_SECONDS if wait is None else max(wait, 1.0))
    detail = f"no key may sign licenses at the moment; try again in {seconds} s"
    return ServiceUnavailable(detail, headers={"Retry-After": str(seconds)})
