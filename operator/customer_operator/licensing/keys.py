"""The public keys that licenses are verified with, read from a JWKS file (RFC 7517) that the platform mounts."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
from jwt.algorithms import RSAAlgorithm

from customer_operator.errors import SettingInvalid
from customer_operator.licensing.token import ALGORITHM

#: Each tenant's API is given the set in one environment variable, for which Linux has 131,072 bytes (execve(2),
#: MAX_ARG_STRLEN); past that no container would start. This is enough for seventy keys of 4,096 bits.
MAX_BYTES: Final = 64 * 1024
_MAX_KEYS: Final = 100
_MAX_KEY_ID: Final = 128
#: RFC 7518 section 3.3 has 2,048 bits or more; OpenSSL verifies with no more than 16,384.
_BITS: Final = range(2048, 16384 + 1)
#: A document that is nested too deeply is no better than one that is no JSON.
_UNREADABLE: Final = (OSError, ValueError, RecursionError)
#: RFC 7518 section 6.3.2.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})

log = logging.getLogger(__name__)


class KeySet:
    """The public keys by key id, read again when the file changes; a broken new file leaves those known before.

    Whoever has asked for it is told when they have become others. Tenants' APIs are given the document, too: theirs
    changes at the next resync of each, spread over the fleet.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file; SettingInvalid when it is no JWKS. None: there are no keys, so no license is trusted.

        In a mounted ConfigMap the file may be missing, as long as the billing API has published nothing, or hold what
        cannot be used: who may write there must not be able to stop the operator.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._document: str | None = None
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._problem, self._unreadable = "", False
        self._on_change: Callable[[], None] = lambda: None
        if path is not None:
            try:
                self._read(path)
            except _UNREADABLE as error:
                if not _is_mounted_by_kubelet(path.parent):
                    raise _no_jwks(error) from error
                self._note(error)

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have this called from now on whenever the keys have become others."""
        self._on_change = tell

    def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id; None when it is not trusted."""
        self.refresh()
        return self._keys.get(key_id)

    def document(self) -> str | None:
        """Return the keys as tenants are given them, a JWKS document; None while none has been read.

        It is made from what was understood. Whatever else is in the file, such as blanks, the order, members that
        nobody needs, changes nothing: a change of it restarts the API of every tenant.
        """
        self.refresh()
        return self._document

    @property
    def trusted(self) -> int:
        """How many keys are trusted."""
        self.refresh()
        return len(self._keys)

    @property
    def unreadable(self) -> bool:
        """Whether there is a file that cannot be used, or no longer one; not while there has been none yet."""
        self.refresh()
        return self._unreadable

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._path is None:
            return
        before = self._document
        try:
            self._read(self._path)
        except _UNREADABLE as error:
            # A file in the middle of its replacement, or a broken new one: what was read before still holds.
            self._note(error)
        if self._document != before:
            self._on_change()

    def _note(self, error: Exception) -> None:
        """Tell once of what is wrong, however often it is looked at."""
        missing = isinstance(error, FileNotFoundError)
        if missing:
            self._seen = None
        self._unreadable = not missing or self._document is not None
        problem, self._problem = self._problem, str(error)
        if problem == self._problem:
            return
        if self._document is not None:
            log.warning("the license keys in %s cannot be read, those known before stay: %s", self._path, error)
        elif missing:
            log.warning("no license is trusted until the billing API has published its keys in %s", self._path)
        else:
            log.warning("no license is trusted, for the license keys in %s cannot be read: %s", self._path, error)

    def _read(self, path: Path) -> None:
        stat = path.stat()
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen == self._seen:
            return
        text, self._seen = path.read_text(), seen
        keys = parse_jwks(text)
        self._document, self._keys = serialize(keys), keys
        self._problem, self._unreadable = "", False


def _is_mounted_by_kubelet(folder: Path) -> bool:
    """Tell whether a folder is a mounted ConfigMap: only there may the file come later, elsewhere it is mistyped."""
    return (folder / "..data").is_symlink()


def _no_jwks(error: Exception) -> SettingInvalid:
    return SettingInvalid({"LICENSE_JWKS_PATH": f"must name a JWKS file of public RSA keys; {error}"})


def parse_jwks(text: str) -> dict[str, jwt.PyJWK]:
    """Return the RSA keys of a JWKS document by key id; those that are for something else are left out.

    Raises ValueError, which never shows a key, when it is no such document, holds a private key, or more than can be
    handed to a tenant.
    """
    document = json.loads(text)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('it is no JWKS document, {"keys": [...]}')
    if len(keys) > _MAX_KEYS:
        raise ValueError(f"it has {len(keys)} keys, and {_MAX_KEYS} are enough; leave out those that sign no license")
    found = {key["kid"]: _public_key(key) for key in keys if _verifies_licenses(key)}
    if len(serialize(found)) > MAX_BYTES:
        raise ValueError(f"its keys need more than {MAX_BYTES} bytes; leave out those that sign no license")
    return found


def serialize(keys: Mapping[str, jwt.PyJWK]) -> str:
    """Return a JWKS document of these keys in ASCII; the same keys give the same text."""
    members = [_members(key_id, key) for key_id, key in sorted(keys.items())]
    return json.dumps({"keys": members}, sort_keys=True, separators=(",", ":"))


def _members(key_id: str, key: jwt.PyJWK) -> dict[str, str]:
    public = RSAAlgorithm.to_jwk(key.key, as_dict=True)
    return {"alg": ALGORITHM, "e": public["e"], "kid": key_id, "kty": "RSA", "n": public["n"], "use": "sig"}


def _verifies_licenses(key: Mapping[str, Any]) -> bool:
    """Tell whether a key is one of those that licenses are signed with (RFC 7517 sections 4.1 to 4.5)."""
    fits = key.get("kty") == "RSA" and key.get("use", "sig") == "sig" and key.get("alg", ALGORITHM) == ALGORITHM
    return fits and isinstance(key.get("kid"), str)


def _public_key(key: Mapping[str, Any]) -> jwt.PyJWK:
    key_id: str = key["kid"]
    if not key_id.isprintable() or not 1 <= len(key_id) <= _MAX_KEY_ID:
        raise ValueError(f"a key's id must have 1 to {_MAX_KEY_ID} printable characters")
    if not _PRIVATE.isdisjoint(key):
        raise ValueError(f"the key {key_id!r} is a private key; give the public one, n and e alone")
    try:
        public = jwt.PyJWK({name: key[name] for name in ("kty", "n", "e")}, algorithm=ALGORITHM)
    except (jwt.PyJWTError, KeyError, ValueError) as error:
        raise ValueError(f"the key {key_id!r} is no RSA key; it needs n and e") from error
    if public.key.key_size not in _BITS:
        raise ValueError(f"the key {key_id!r} must have {_BITS.start} to {_BITS.stop - 1} bits")
    return public
