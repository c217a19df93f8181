"""How to reach the API server: as a pod, or by a kubeconfig, whose token is renewed while we run."""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.kube_config import KubeConfigLoader

from customer_operator.errors import SettingInvalid

# Seconds. How often a token is looked at again, as in client-go (transport/token_source.go); a plugin is run only when
# what it gave expires within five minutes, and one whose token is refused no more often than this.
_PERIOD, _AFTER_REFUSAL = 60.0, 5.0
# Seconds. Plugins ask a cloud over the network.
_PLUGIN_LIMIT = 20.0

log = logging.getLogger(__name__)


class Renewal:
    """Has the library read a kubeconfig's token file, or run its plugin, again; until `async with` ends.

    Requests never wait for it: they go on with the token of before. A certificate that a plugin gives stays the first.
    """

    def __init__(self, loader: KubeConfigLoader | None = None) -> None:
        """Take the library's loader, which has loaded once; None renews nothing, as a pod's token is by the library."""
        self._loader = loader
        self._began = time.monotonic()
        self._due = self._began + _PERIOD
        self._renewing: asyncio.Task[None] | None = None
        self._failed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def refused(self) -> None:
        """Take note that the API server does not accept the token: the next request has it renewed."""
        if self._loader is not None:
            # The library would not run a plugin before its token expires.
            vars(self._loader).pop("exec_plugin_expiry", None)
            self._due = min(self._due, self._began + _AFTER_REFUSAL)

    def hook(self, configuration: Configuration) -> None:
        """Begin to renew the token if it is time to: the library calls this before each request."""
        now = time.monotonic()
        if now >= self._due and (self._renewing is None or self._renewing.done()):
            self._began, self._due = now, now + _PERIOD
            self._renewing = asyncio.create_task(self._renew(configuration), name="renew the token")

    async def _renew(self, configuration: Configuration) -> None:
        assert self._loader is not None  # noqa: S101 - else there is no hook
        try:
            async with asyncio.timeout(_PLUGIN_LIMIT):
                await self._loader.load_and_set(configuration)
            _strip(configuration)
            self._failed = False
        except (ConfigException, OSError, ValueError) as error:
            if not self._failed:
                log.warning("the kubeconfig's token cannot be renewed, the last one stays in use: %s", error)
            self._failed = True


async def load_configuration(kubeconfig: Path | None) -> tuple[Configuration, Renewal]:
    """Return the client's configuration, by the given file, else the pod's ServiceAccount, else the user's default.

    The second is what renews it; it has to be entered.
    Raises SettingInvalid when there is none that can be used.
    """
    configuration = Configuration()
    if kubeconfig is None:
        with suppress(ConfigException):
            config.load_incluster_config(client_configuration=configuration)
            return configuration, Renewal()
    try:
        loader = await config.load_kube_config(kubeconfig and str(kubeconfig), client_configuration=configuration)
    except (ConfigException, OSError) as error:
        problem = f"must name a kubeconfig that can be used; {error}; it is {str(kubeconfig or '')!r}"
        raise SettingInvalid({"KUBECONFIG": problem}) from error
    _strip(configuration)
    renewal = Renewal(loader)
    configuration.refresh_api_key_hook = renewal.hook  # type: ignore[assignment]  # declared as None
    return configuration, renewal


def _strip(configuration: Configuration) -> None:
    """Take off what ends the line of a token's file; no header may hold it."""
    if (token := configuration.api_key.get("BearerToken")) is not None:
        configuration.api_key["BearerToken"] = token.strip()


async def connection_of(kubeconfig: Path | None) -> dict[str, Any]:
    """Return the same as what kopf's ConnectionInfo takes, with the token as it is now; raises SettingInvalid."""
    found, _ = await load_configuration(kubeconfig)
    scheme, _, token = found.api_key.get("BearerToken", "").partition(" ")
    return {
        "server": found.host,
        "ca_path": found.ssl_ca_cert,
        "insecure": not found.verify_ssl,
        "scheme": scheme or None,
        "token": token or None,
        "certificate_path": found.cert_file,
        "private_key_path": found.key_file,
        "proxy_url": found.proxy,
    }
