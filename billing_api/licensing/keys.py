"""The private keys that sign licenses: read from their files, and again when these change."""

import base64
import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from billing_api import files
from billing_api.db.signing_keys import Jwk
from billing_api.errors import SettingsError
from billing_api.settings import Settings

#: 128 bits of security, the strength NIST SP 800-57 part 1 asks for beyond 2030.
_GENERATED_BITS: Final = 3072
#: RFC 7518 section 3.3: RS256 needs 2048 bits or more.
_LEAST_BITS: Final = 2048
_STEM: Final = "license-signing-key"
_CURE: Final = "make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out <file>.pem"

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

    @classmethod
    def generate(cls) -> Self:
        """Make a new key. Blocks for a second or so."""
        return cls.from_private(rsa.generate_private_key(public_exponent=65537, key_size=_GENERATED_BITS))

    def pem(self) -> bytes:
        """Return the private key as the text of its file (PKCS #8, without password)."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, kw_only=True)
class KeyFiles:
    """Where the private keys are.

    Attributes:
        place: a file, or a folder of files that the pattern chooses.
        configured: whether LICENSE_PRIVATE_KEY_PATH says so; otherwise they are ours, in DATA_DIR.
    """

    place: Path
    pattern: str = "*.pem"
    configured: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return where the settings say the keys are."""
        if settings.license_private_key_path is not None:
            return cls(place=settings.license_private_key_path)
        return cls(place=settings.data_dir, pattern=f"{_STEM}*.pem", configured=False)

    def paths(self) -> list[Path]:
        """Return the files there are now, by name."""
        if not self.place.is_dir():
            return [self.place]
        # Hidden files are those a mounted Secret and `files` write on the way.
        found = (path for path in self.place.glob(self.pattern) if not path.name.startswith("."))
        return sorted(path for path in found if path.is_file())

    def state(self) -> object:
        """Return what is equal as long as no file changes; a Secret that is mounted changes its files' inodes."""
        stats = [(path, path.stat()) for path in self.paths()]
        return [(path, stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in stats]

    def read(self) -> list[SigningKey]:
        """Return all keys, by the names of their files. Blocks.

        Raises:
            SettingsError: there is none, or a file holds no usable key; names every such file.
        """
        found, problems = [], []
        for path in self.paths():
            try:
                found.append(SigningKey.from_private(_read(path)))
            except SettingsError as error:
                problems.append(str(error))
        if problems or not found:
            nothing = f"LICENSE_PRIVATE_KEY_PATH: {self.place} holds no file {self.pattern}; {_CURE}"
            raise SettingsError("\n".join(problems or [nothing]))
        return found

    def generate_first(self) -> None:
        """Write the first key, unless another process does it meanwhile."""
        path = self.place / f"{_STEM}.pem"
        if files.create(path, SigningKey.generate().pem(), mode=0o600):
            log.warning(
                "Generated a new license signing key: %s. Back it up: every license is signed with it. "
                "In production make it a Secret and set LICENSE_PRIVATE_KEY_PATH.",
                path,
            )

    def add(self, key: SigningKey) -> Path:
        """Write one more key into the folder, readable by its owner only; return its path. OSError when it cannot."""
        path = self.place / f"{_STEM}-{key.kid[:8]}.pem"
        files.create(path, key.pem(), mode=0o600)
        return path


class KeyRing:
    """The private keys this process holds. Which of them may sign is for the database to say."""

    def __init__(self, keys: Iterable[SigningKey], *, source: KeyFiles | None = None, state: object = None) -> None:
        """Hold these keys, and with a source those its files hold later; `state` is theirs before they were read."""
        self._keys = {key.kid: key for key in keys}
        self._in_files = frozenset(self._keys)
        self._source = source
        self._state = state
        self._problem = ""

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Read the keys of the settings; without any, generate the first one in DATA_DIR. Blocks.

        Raises:
            SettingsError: there is no usable key.
        """
        source = KeyFiles.of(settings)
        if not source.configured and not source.paths():
            source.generate_first()
        state: object = None
        with suppress(OSError):  # reading tells what is wrong
            state = source.state()
        return cls(source.read(), source=source, state=state)

    @property
    def keys(self) -> Sequence[SigningKey]:
        """The keys held now."""
        return list(self._keys.values())

    def refresh(self) -> None:
        """Read the files again if they have changed, or could not be used; what was read before stays then. Blocks."""
        if self._source is None:
            return
        try:
            state = self._source.state()
            if state != self._state or self._problem:
                found = {key.kid: key for key in self._source.read()}
                # Those whose files are gone stay for now: a key replaced by a newer one has to sign until that one may.
                self._keys, self._in_files = self._keys | found, frozenset(found)
                self._state, self._problem = state, ""
                log.info("License signing keys read again: %s", ", ".join(self._keys))
        except (SettingsError, OSError) as error:
            # Rights, a mount, a file half written: it may pass without the file looking different. Told once.
            if str(error) != self._problem:
                log.error("License signing keys changed and cannot be used, those known before stay: %s", error)
            self._problem = str(error)

    def let_go(self, signing: Collection[str]) -> None:
        """Forget the keys whose files are gone, once a key that has a file is among those that may sign."""
        if self._in_files.intersection(signing):
            self._keys = {kid: key for kid, key in self._keys.items() if kid in self._in_files}


def _read(path: Path) -> rsa.RSAPrivateKey:
    name = f"LICENSE_PRIVATE_KEY_PATH: {path}"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{name} holds no private key without password; {_CURE}") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise SettingsError(f"{name} must be an RSA key of {_LEAST_BITS} bits or more; {_CURE}")
    return key
