"""The public keys that licenses are verified with, read from a JWKS file (RFC 7517) that the platform mounts."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from customer_operator.errors import SettingInvalid
from customer_operator.licensing.token import ALGORITHM

log = logging.getLogger(__name__)


class KeySet:
    """The public keys by key id, read from a JWKS file (RFC 7517), read again when the file changes."""

    def __init__(self, path: Path | None) -> None:
        """Take the file's path; None when the operator has no keys and so can trust no license."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: Mapping[str, jwt.PyJWK] = {}

    def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id; a rotated file is noticed by its time and size."""
        if self._path is None:
            return None
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                text, self._stamp = self._path.read_text(), stamp
                self._keys = parse_jwks(text)
        except (OSError, ValueError) as error:
            # A file in the middle of its replacement, or a broken new one: what was read before still holds.
            log.warning("the license keys in %s cannot be read, those known before stay: %s", self._path, error)
        return self._keys.get(key_id)


def parse_jwks(text: str) -> dict[str, jwt.PyJWK]:
    """Return the RSA keys of a JWKS document by key id.

    Raises ValueError, which never shows a key, when it is no such document or holds a private key.
    """
    document = json.loads(text)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('it is no JWKS document, {"keys": [...]}')
    return {key["kid"]: _public_key(key) for key in keys if _is_named_rsa(key)}


def read_jwks(path: Path) -> str:
    """Return the JWKS document that tenants are given; SettingInvalid when it is none, or holds a private key."""
    try:
        text = path.read_text()
        parse_jwks(text)
    except (OSError, ValueError) as error:
        raise SettingInvalid({"LICENSE_JWKS_PATH": f"must name a JWKS file of public RSA keys; {error}"}) from error
    return text


def _is_named_rsa(key: Mapping[str, Any]) -> bool:
    return key.get("kty") == "RSA" and isinstance(key.get("kid"), str)


def _public_key(key: dict[str, Any]) -> jwt.PyJWK:
    if "d" in key:
        raise ValueError(f"the key {key['kid']!r} is a private key; give the public one, n and e alone")
    try:
        return jwt.PyJWK(key, algorithm=ALGORITHM)
    except jwt.PyJWTError as error:
        raise ValueError(f"the key {key['kid']!r} is no RSA key; it needs n and e") from error
