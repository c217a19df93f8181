"""The license signing key: read from its file, or generated once on first start; and what is derived from it."""

import base64
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import RSAAlgorithm

from billing_api.db.signing_keys import Jwk
from billing_api.errors import SettingsError

#: 128 bits of security, the strength NIST SP 800-57 part 1 asks for beyond 2030.
_GENERATED_BITS = 3072
#: RFC 7518 section 3.3: RS256 needs 2048 bits or more.
_LEAST_BITS = 2048

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SigningKey:
    """An RSA private key with its identifier.

    Attributes:
        private: signs licenses; never leaves the process.
        kid: RFC 7638 thumbprint of the public key.
        jwk: the public key as a JSON Web Key.
    """

    private: rsa.RSAPrivateKey = field(repr=False)
    kid: str
    jwk: Jwk = field(repr=False)

    @classmethod
    def from_private(cls, private: rsa.RSAPrivateKey) -> Self:
        """Compute identifier and public form of a private key."""
        public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        members = {"e": public["e"], "kty": "RSA", "n": public["n"]}
        digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
        kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return cls(private, kid, {**members, "kid": kid, "use": "sig", "alg": "RS256"})

    def derive(self, purpose: str) -> bytes:
        """Return 32 secret bytes for one purpose, the same in every process that holds the key (HKDF, RFC 5869)."""
        seed = self.private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(seed)


def load_or_generate(*, configured: Path | None, data_dir: Path) -> SigningKey:
    """Return the license signing key.

    Args:
        configured: LICENSE_PRIVATE_KEY_PATH; None means the file ``license-signing-key.pem`` in data_dir,
            which is generated when missing, readable by its owner only.
        data_dir: DATA_DIR; it must exist.

    Raises:
        SettingsError: the file holds no usable key.
    """
    path = configured or data_dir / "license-signing-key.pem"
    if configured is None and not path.exists():
        _generate(path)
    return SigningKey.from_private(_read(path))


def write_jwks(path: Path, jwks: Iterable[Jwk]) -> None:
    """Write the public keys as a JSON Web Key Set, in one step, for the operator to mount."""
    _write(path, json.dumps({"keys": list(jwks)}, indent=2).encode() + b"\n", mode=0o644)


def _generate(path: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_GENERATED_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, pem, mode=0o600, keep_existing=True)
    log.warning(
        "Generated a new license signing key: %s. Back it up: every license is signed with it. "
        "In production make it a Secret and set LICENSE_PRIVATE_KEY_PATH.",
        path,
    )


def _read(path: Path) -> rsa.RSAPrivateKey:
    name = f"LICENSE_PRIVATE_KEY_PATH: {path}"
    cure = "make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out <file>"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{name} holds no private key without password; {cure}") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise SettingsError(f"{name} must be an RSA key of {_LEAST_BITS} bits or more; {cure}")
    return key


def _write(path: Path, content: bytes, *, mode: int, keep_existing: bool = False) -> None:
    """Write a whole file or nothing; with keep_existing, the first of several writers wins."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        if not keep_existing:
            Path(name).replace(path)
        elif not path.exists():
            path.hardlink_to(name)
    except FileExistsError:
        log.info("%s was written by another process in the meantime", path)
    finally:
        Path(name).unlink(missing_ok=True)
