"""The router's settings: one flat list, read once from the environment."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mqtt_router.errors import SettingInvalid

Ranges: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

# Where the addresses of Services are: private ones (RFC 1918, RFC 6598, RFC 4193), and never the router's own pod.
PRIVATE: Final[Ranges] = (
    ip_network("10.0.0.0/8"),
    ip_network("172.16.0.0/12"),
    ip_network("192.168.0.0/16"),
    ip_network("100.64.0.0/10"),
    ip_network("fc00::/7"),
)

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# It stands in commands to HAProxy, which blanks, semicolons and backslashes would take apart.
_PATH: Final = re.compile(r"/[-._/A-Za-z0-9]+")

# How pydantic's complaints read here, by their type.
_COMPLAINTS: Final[Mapping[str, str]] = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}


def _namespace(name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise ValueError("must be the name of a namespace")
    return name


def _map_file(path: Path) -> Path:
    if not _PATH.fullmatch(str(path)):
        raise ValueError("must be an absolute path of letters, digits, dots, dashes and underscores")
    return path


def _ranges(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(text.strip()) for text in value.split(","))
    except ValueError:
        raise ValueError("must be ranges of addresses such as 10.96.0.0/12, separated by commas") from None


Seconds = Annotated[float, Field(ge=0.05, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Every setting has the environment variable of its name in capitals; an empty one counts as not set.

    Times are seconds. `map_file` is the map of haproxy.cfg, spelled as it is there.
    """

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, enable_decoding=False)

    router_namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        "mqtt-router", description="namespace of the ConfigMaps"
    )
    address_ranges: Annotated[Ranges, BeforeValidator(_ranges)] = Field(
        PRIVATE, description="where brokers may be; a route to anywhere else is left out"
    )
    map_file: Annotated[Path, AfterValidator(_map_file)] = Field(
        Path("/run/mqtt-router/routes.map"), description="HAProxy's map, spelled as in haproxy.cfg"
    )
    haproxy_socket: Path = Field(Path("/run/mqtt-router/haproxy.sock"), description="HAProxy's stats socket")
    check_interval: Seconds = Field(2.0, description="seconds between two looks whether HAProxy was started again")
    compare_interval: Seconds = Field(60.0, description="seconds between two looks whether the whole map is right")
    probe_host: str = Field("0.0.0.0", description="address of /livez, /readyz and /metrics")  # noqa: S104 - for others
    probe_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="port of them; 0 takes a free one and logs it"
    )
    kubeconfig: Path | None = Field(None, description="file that leads to the API server, for a router that is no pod")


def from_environment() -> Settings:
    """Return the settings of this process's environment; raises SettingInvalid, which names all that are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingInvalid({str(item["loc"][0]).upper(): _explain(item) for item in error.errors()}) from None


def _explain(item: Any) -> str:
    context = item.get("ctx", {})
    wrong = str(context.get("error", "")) or _COMPLAINTS.get(item["type"], item["msg"]).format(**context)
    return f"{wrong}; it is {str(item['input'])!r}"
