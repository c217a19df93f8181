"""By which name it is counted where a call comes from: keyed hashes, so that no address of a person is stored."""

import hashlib
import hmac
import json

from billing_api.db.accounts import Origin
from billing_api.http.places import place_of


class Pseudonyms:
    """Names for what must not be stored, the same in every process that has the secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, *parts: str) -> bytes:
        """Return the 32 bytes that stand for the parts."""
        return hmac.digest(self._secret, json.dumps(parts).encode(), hashlib.sha256)

    def origin(self, client: str) -> Origin:
        """Return the pseudonyms of a client's address and network."""
        place = place_of(client)
        return Origin(address=self.of("address", place.address), network=self.of("network", place.network))
