"""Every setting of the billing API: one flat list, read once from the environment.

Each field's variable is its name in capitals. All bad values are reported together, and no value is repeated.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsConfigDict

from billing_api.errors import SettingsError

_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
# RFC 1123: a namespace is a label, a ConfigMap's name a domain name.
_CONFIG_MAP: Final = re.compile(rf"[a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?/{_DOMAIN.pattern}")

# How pydantic's complaints read here, by their type.
_COMPLAINTS: Final[Mapping[str, str]] = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be one of {expected}",
}


#: How much two names must have in common to be taken for one: DATABASE_URI and DATABASE_URL are, HOST and HOSTNAME not.
_NEARLY: Final = 0.85

#: As much as 128 bits written in hexadecimal.
SECRET_LEAST_CHARACTERS: Final = 32
_RANDOM_TEXT: Final = "make one with: openssl rand -hex 32"
#: What the built-in database's only process generates for itself, and replicas must be given: the cure of each.
_SHARED: Final[Mapping[str, str]] = {
    "license_private_key_path": "make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 "
    "-out <folder>/1.pem",
    "session_secret": _RANDOM_TEXT,
    "idempotency_secret": _RANDOM_TEXT,
}


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("must name a readable file; create it, or leave the variable empty")
    return path


def _existing_file_or_folder(path: Path) -> Path:
    if not path.is_file() and not path.is_dir():
        raise ValueError("must name a readable file, or a folder of such; create it, or leave the variable empty")
    return path


def _database_url(text: str) -> str:
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must look like postgresql://user:password@host:5432/billing; empty starts a built-in one")
    return text


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text.lower()):
        raise ValueError("must be a domain name such as iotistic.cloud, or localhost")
    return text.lower()


def _config_map(text: str) -> str:
    if not _CONFIG_MAP.fullmatch(text):
        raise ValueError("must be namespace/name of a ConfigMap, such as iotistic-system/license-jwks")
    return text


def _secret(text: str) -> str:
    if text and len(text) < SECRET_LEAST_CHARACTERS:
        raise ValueError(f"must have at least {SECRET_LEAST_CHARACTERS} characters; {_RANDOM_TEXT}")
    return text


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(part.strip())) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be addresses or networks such as 10.0.0.7 or 10.0.0.0/8, comma-separated") from None


def _from_text(parse: Callable[[str], Any]) -> BeforeValidator:
    """Return what reads a variable; defaults are no text."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
ExistingFile = Annotated[Path, AfterValidator(lambda path: _existing_file(path.expanduser()))]
ExistingPath = Annotated[Path, AfterValidator(lambda path: _existing_file_or_folder(path.expanduser()))]
Domain = Annotated[str, AfterValidator(_domain)]
ConfigMapName = Annotated[str, AfterValidator(_config_map)]
Secret = Annotated[str, AfterValidator(_secret)]
Networks = Annotated[tuple[str, ...], _from_text(_networks)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0.01, le=86400, allow_inf_nan=False)]


def _default_data_dir() -> Path:
    root = os.environ.get("XDG_DATA_HOME", "").strip() or "~/.local/share"
    return Path(root).expanduser().absolute() / "iotistic-billing"


class Settings(BaseSettings):
    """The settings, already checked; an empty variable counts as not set.

    Times are seconds unless the name says otherwise. A field with `repr=False` is never shown.
    """

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, enable_decoding=False, hide_input_in_errors=True, extra="forbid"
    )

    database_url: DatabaseUrl = Field("", repr=False, description="PostgreSQL to use; empty starts a built-in one")
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = Field(
        10, description="Connections to PostgreSQL kept for the requests of one process; it needs three more"
    )
    database_wait: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        0.0,
        description="How long a start waits for PostgreSQL to take connections; 240 suits a database that is installed "
        "at the same time",
    )
    data_dir: Folder = Field(
        default_factory=_default_data_dir,
        description="Folder for the built-in database, the license signing key and jwks.json; "
        "empty means iotistic-billing below XDG_DATA_HOME",
    )
    base_domain: Domain = Field(
        "iotistic.cloud", description="Domain of the customers' hosts; localhost means node ports and plain HTTP"
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        3100, description="Port to listen on; 0 takes a free one and prints it"
    )
    trusted_proxies: Networks = Field(
        (), description="Addresses or networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    max_connections: Count = Field(
        1000,
        description="Client connections open at once; past it the one whose client keeps us waiting longest is closed, "
        "and where there is none the new one gets 503",
    )
    request_timeout: Seconds = Field(
        20.0, description="Time a client may take for its headers, for its body, and to take our answer"
    )
    stop_delay: Annotated[float, Field(ge=0, le=5, allow_inf_nan=False)] = Field(
        0.0,
        description="How long after SIGTERM new connections are still taken, with /health/ready at 503, until load "
        "balancers have noticed; 5 suits Kubernetes",
    )
    license_private_key_path: ExistingPath | None = Field(
        None,
        description="RSA key (PEM) that signs licenses, or a folder of such keys (*.pem); "
        "empty generates one in DATA_DIR on first start",
    )
    license_issuer: str = Field(
        "https://billing.iotistic.cloud", description="Issuer (iss) of the licenses; the operator's LICENSE_ISSUER"
    )
    license_key_overlap: Seconds = Field(
        600.0, description="How long a new signing key is only published, until every reader has it, before it signs"
    )
    jwks_config_map: ConfigMapName = Field(
        "iotistic-system/license-jwks",
        description="ConfigMap (namespace/name) that the public keys are published in for the operator",
    )
    default_trial_days: Annotated[int, Field(ge=1, le=365)] = Field(14, description="Length of a new customer's trial")
    kubeconfig: ExistingFile | None = Field(
        None, description="kubeconfig of the cluster; empty uses the pod's service account, or no cluster"
    )
    kubernetes_service_host: str = Field("", description="Set by Kubernetes itself in every pod")
    outbox_batch_size: Annotated[int, Field(ge=1, le=500)] = Field(
        20, description="Outbox rows of one kind that one process works on at the same time"
    )
    outbox_lease: Seconds = Field(
        30.0, description="How long a row stays with a process that took it and does not answer any more"
    )
    outbox_retry_base_seconds: Seconds = Field(
        1.0, description="Wait before the first retry of a failed row; doubled each time"
    )
    outbox_retry_max_seconds: Seconds = Field(60.0, description="Longest wait between retries")
    session_secret: Secret = Field(
        "", repr=False, description="Key of the session tokens; empty generates one in DATA_DIR on first start"
    )
    idempotency_secret: Secret = Field(
        "", repr=False, description="Key of what is kept of an idempotent request; empty generates one in DATA_DIR"
    )
    session_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(60, description="How long a session lasts")
    login_attempts_per_account: Count = Field(10, description="Failed logins for one account in LIMIT_WINDOW")
    login_attempts_per_address: Count = Field(
        50,
        description="Failed logins from one address (IPv6: its /64) in LIMIT_WINDOW; ten times that from a network",
    )
    signups_per_address: Count = Field(
        20, description="Signups from one address (IPv6: its /64) in LIMIT_WINDOW; ten times that from a network"
    )
    signups_in_all: Count = Field(2000, description="Signups from everywhere in LIMIT_WINDOW")
    unverified_stacks_per_address: Count = Field(
        20,
        description="Trials of customers without a verified e-mail address that were begun from one address (IPv6: its "
        "/64); ten times that from a network",
    )
    unverified_stacks_in_all: Count = Field(
        5000, description="Such trials in all, beyond which nobody can sign up; what the cluster has room for"
    )
    limit_window: Annotated[int, Field(ge=1, le=86400)] = Field(900, description="The time these are counted in")
    password_queue: Count = Field(
        50,
        description="Passwords that may wait to be hashed, and as many to be verified, a quarter of these from one "
        "address; past it the answer is 503",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe messages to log")
    log_format: Literal["text", "json"] = Field(
        "text", description="json writes one object per line, for log collectors"
    )

    @property
    def tls(self) -> bool:
        """Whether browsers reach the API by TLS; not on localhost, where there is none."""
        return self.base_domain != "localhost"

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Let a variable of blanks count as not set, like an empty one: templates leave such behind."""
        return {name: value for name, value in values.items() if not isinstance(value, str) or value.strip()}


#: Variables that nobody else should see.
SECRETS: Final = frozenset(name.upper() for name, field in Settings.model_fields.items() if not field.repr)


def from_environment(
    *, serving: bool = False, check_database_url: Callable[[str], None] = lambda _url: None
) -> Settings:
    """Return the settings of this process's environment.

    Args:
        serving: refuse a database that others may use, too, while a secret they must have in common is not set.
        check_database_url: raises SettingsError for a DATABASE_URL that cannot be used.

    Raises:
        SettingsError: names all that are wrong, each with its cure.
    """
    wrong: dict[str, str] = {}
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        # Not as its cause: pydantic's own text may show values.
        wrong = {str(item["loc"][0]): _explain(item) for item in error.errors(include_input=False)}
    lines = [f"{name.upper()}: {complaint}" for name, complaint in wrong.items()]
    if "database_url" not in wrong and (url := _given("database_url")):
        try:
            check_database_url(url)
        except SettingsError as error:
            lines.append(str(error))
    if serving and _given("database_url"):
        lines += [
            f"{name.upper()}: must be set, to the same in every replica that uses DATABASE_URL; {cure}"
            for name, cure in _SHARED.items()
            if not _given(name)
        ]
    if lines or settings is None:
        raise SettingsError("\n".join(lines))
    return settings


def _given(name: str) -> str:
    """Return the text of a variable, however its name is written; empty when it is not set."""
    return next((text.strip() for variable, text in os.environ.items() if variable.lower() == name), "")


def misspelt() -> Iterator[tuple[str, str]]:
    """Yield variables of this process's environment that are no settings, but nearly, each with the one it is near."""
    # Not what Kubernetes itself sets, with more of the kind.
    known = [name.upper() for name in Settings.model_fields if not name.startswith("kubernetes_")]
    for variable in sorted(os.environ):
        if variable.lower() in Settings.model_fields or variable.startswith("KUBERNETES_"):
            continue
        for name in difflib.get_close_matches(variable.upper(), known, n=1, cutoff=_NEARLY):
            yield variable, name


def describe() -> Iterator[tuple[str, str, str]]:
    """Yield name, default as text (empty when it depends) and meaning of every environment variable."""
    for name, field in Settings.model_fields.items():
        yield name.upper(), _shown_default(field), field.description or ""


def _shown_default(field: FieldInfo) -> str:
    return "" if field.default in (None, (), PydanticUndefined) else str(field.default)


def _explain(item: Any) -> str:
    context = item.get("ctx", {})
    return str(context.get("error", "")) or _COMPLAINTS.get(item["type"], item["msg"]).format(**context)
