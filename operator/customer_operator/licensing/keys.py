"""The public keys that licenses are verified with, read from a JWKS file (RFC 7517) that the platform mounts."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt

from customer_operator.errors import SettingInvalid
from customer_operator.licensing.token import ALGORITHM

log = logging.getLogger(__name__)


class KeySet:
    """The public keys by key id, read again when the file changes; a broken new file leaves those known before.

    Whoever has asked for it is told when they have become others. Tenants' APIs are given the document, too: theirs
    changes at the next resync of each, spread over the fleet.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file; SettingInvalid when it is no JWKS. None: there are no keys, so no license is trusted.

        In a mounted ConfigMap the file may be missing, as long as the billing API has published nothing.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._document: str | None = None
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._problem = ""
        self._on_change: Callable[[], None] = lambda: None
        if path is not None:
            try:
                self._read(path)
            except FileNotFoundError as error:
                if not _is_mounted_by_kubelet(path.parent):
                    raise _no_jwks(error) from error
                log.warning("no license is trusted until the billing API has published its keys in %s", path)
            except (OSError, ValueError) as error:
                raise _no_jwks(error) from error

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have this called from now on whenever the keys have become others."""
        self._on_change = tell

    def get(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key with this id; None when it is not trusted."""
        self.refresh()
        return self._keys.get(key_id)

    def document(self) -> str | None:
        """Return the JWKS document as tenants are given it; None when there are no keys."""
        self.refresh()
        return self._document

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._path is None:
            return
        before, problem = self._document, ""
        try:
            self._read(self._path)
        except FileNotFoundError as error:
            problem = str(error) if self._seen is not None else ""
        except (OSError, ValueError) as error:
            # A file in the middle of its replacement, or a broken new one: what was read before still holds.
            problem = str(error)
        if problem and problem != self._problem:
            log.warning("the license keys in %s cannot be read, those known before stay: %s", self._path, problem)
        self._problem = problem
        if self._document != before:
            self._on_change()

    def _read(self, path: Path) -> None:
        stat = path.stat()
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen == self._seen:
            return
        text, self._seen = path.read_text(), seen
        self._keys = parse_jwks(text)
        self._document = text


def _is_mounted_by_kubelet(folder: Path) -> bool:
    """Tell whether a folder is a mounted ConfigMap: only there may the file come later, elsewhere it is mistyped."""
    return (folder / "..data").is_symlink()


def _no_jwks(error: Exception) -> SettingInvalid:
    return SettingInvalid({"LICENSE_JWKS_PATH": f"must name a JWKS file of public RSA keys; {error}"})


def parse_jwks(text: str) -> dict[str, jwt.PyJWK]:
    """Return the RSA keys of a JWKS document by key id.

    Raises ValueError, which never shows a key, when it is no such document or holds a private key.
    """
    document = json.loads(text)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('it is no JWKS document, {"keys": [...]}')
    return {key["kid"]: _public_key(key) for key in keys if _is_named_rsa(key)}


def _is_named_rsa(key: Mapping[str, Any]) -> bool:
    return key.get("kty") == "RSA" and isinstance(key.get("kid"), str)


def _public_key(key: dict[str, Any]) -> jwt.PyJWK:
    if "d" in key:
        raise ValueError(f"the key {key['kid']!r} is a private key; give the public one, n and e alone")
    try:
        return jwt.PyJWK(key, algorithm=ALGORITHM)
    except jwt.PyJWTError as error:
        raise ValueError(f"the key {key['kid']!r} is no RSA key; it needs n and e") from error
