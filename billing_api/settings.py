"""Every setting of the billing API: one flat list, read once from the environment.

Each field's variable is its name in capitals. All bad values are reported together.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from billing_api.errors import SettingsError

_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True)
class _Variable:
    """How a setting is read: ``parse`` raises ValueError with what a good value looks like."""

    parse: Callable[[str], Any]
    help: str


def _number(low: float, high: float, kind: type[int] | type[float] = int) -> Callable[[str], float]:
    noun = "a whole number" if kind is int else "a number"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(low) - 1
        if not low <= value <= high:
            raise ValueError(f"must be {noun} from {low} to {high}")
        return value

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return parse


def _existing_file(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError("must name a readable file; create it, or leave the variable empty")
    return path


def _absolute_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _database_url(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must look like postgresql://user:password@host:5432/billing; empty starts a built-in one")
    return text


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text.lower()):
        raise ValueError("must be a domain name such as iotistic.cloud, or localhost")
    return text.lower()


def _session_secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("must have at least 32 characters; make one with: openssl rand -hex 32")
    return text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, already checked. Times are in the unit their name ends with."""

    database_url: Annotated[
        str, _Variable(_database_url, "PostgreSQL to use; empty starts a built-in one inside DATA_DIR")
    ] = field(default="", repr=False)
    database_pool_size: Annotated[int, _Variable(_number(1, 200), "Connections to PostgreSQL kept by one process")] = 10
    data_dir: Annotated[
        Path,
        _Variable(
            _absolute_path,
            "Folder for the built-in database, the licence signing key and jwks.json; "
            "empty means iotistic-billing below XDG_DATA_HOME",
        ),
    ]
    base_domain: Annotated[
        str, _Variable(_domain, "Domain of the customers' hosts; localhost means node ports and plain HTTP")
    ] = "iotistic.cloud"
    host: Annotated[str, _Variable(str, "Address to listen on; 0.0.0.0 in a container")] = "127.0.0.1"
    port: Annotated[int, _Variable(_number(0, 65535), "Port to listen on; 0 takes a free one and prints it")] = 3100
    forwarded_allow_ips: Annotated[
        str, _Variable(str, "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma-separated")
    ] = "127.0.0.1,::1"
    license_private_key_path: Annotated[
        Path | None,
        _Variable(_existing_file, "RSA key (PEM) that signs licences; empty generates one in DATA_DIR on first start"),
    ] = None
    license_issuer: Annotated[
        str, _Variable(str, "Issuer (iss) of the licences; equal to the operator's LICENSE_ISSUER")
    ] = "https://billing.iotistic.cloud"
    default_trial_days: Annotated[int, _Variable(_number(1, 365), "Length of a new customer's trial")] = 14
    kubeconfig: Annotated[
        Path | None,
        _Variable(_existing_file, "kubeconfig of the cluster; empty uses the pod's service account, or no cluster"),
    ] = None
    kubernetes_service_host: Annotated[str, _Variable(str, "Set by Kubernetes itself in every pod")] = ""
    outbox_batch_size: Annotated[
        int, _Variable(_number(1, 500), "Instances applied at the same time by one process")
    ] = 20
    outbox_retry_base_seconds: Annotated[
        float, _Variable(_number(0.01, 3600, float), "Wait before the first retry of a failed apply; doubled each time")
    ] = 1.0
    outbox_retry_max_seconds: Annotated[
        float, _Variable(_number(0.01, 86400, float), "Longest wait between retries")
    ] = 60.0
    session_secret: Annotated[
        str, _Variable(_session_secret, "Key of the session tokens; empty derives it from the licence signing key")
    ] = field(default="", repr=False)
    session_minutes: Annotated[int, _Variable(_number(1, 1440), "How long a session lasts")] = 60
    login_max_attempts: Annotated[
        int, _Variable(_number(1, 1000), "Logins tried for one account from one address before 429 is answered")
    ] = 10
    login_window_seconds: Annotated[int, _Variable(_number(1, 86400), "The time these attempts are counted in")] = 900
    log_level: Annotated[
        str, _Variable(_one_of("DEBUG", "INFO", "WARNING", "ERROR"), "Least severe messages to log")
    ] = "INFO"
    log_format: Annotated[
        str, _Variable(_one_of("text", "json"), "json writes one object per line, for log collectors")
    ] = "text"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings.

        Args:
            environ: normally ``os.environ``; an empty value counts as not set.

        Raises:
            SettingsError: naming every variable with a bad value, and the cure.
        """
        values: dict[str, Any] = {"data_dir": _default_data_dir(environ)}
        mistakes: list[str] = []
        for name, variable in _variables().items():
            text = environ.get(name.upper(), "").strip()
            if not text:
                continue
            try:
                values[name] = variable.parse(text)
            except ValueError as error:
                mistakes.append(f"{name.upper()}: {error}")
        if mistakes:
            raise SettingsError("\n".join(mistakes))
        return cls(**values)


def describe() -> Iterator[tuple[str, str, str]]:
    """Yield name, default as text (empty when it depends) and meaning of every environment variable."""
    defaults = {entry.name: entry.default for entry in fields(Settings)}
    for name, variable in _variables().items():
        default = defaults[name]
        yield name.upper(), "" if default in (None, MISSING) else str(default), variable.help


def _variables() -> dict[str, _Variable]:
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    root = environ.get("XDG_DATA_HOME", "").strip() or "~/.local/share"
    return _absolute_path(root) / "iotistic-billing"
