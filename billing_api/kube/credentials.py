"""What the API server is shown: something fixed, a token from a file that is rotated, or what a plugin hands out."""

import asyncio
import json
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from billing_api.errors import ClusterUnavailable
from billing_api.settings import SECRETS

#: client-go's period (transport/token_source.go); the kubelet renews a pod's token well before its end.
_TOKEN_FILE_SECONDS = 60.0
#: Plugins ask a cloud over the network; a hanging one must not hold the outbox for ever.
_PLUGIN_SECONDS = 20.0
#: A plugin that has just failed is not started again for each waiting request.
_AFTER_FAILURE_SECONDS = 5.0
#: libpq's, which a DATABASE_URL may leave out, beside our own.
_WITHHELD = SECRETS | {"PGPASSWORD"}
#: What would expire on its way to the API server is renewed before.
_EARLY = timedelta(seconds=10)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Credential:
    """Who we are, for one request.

    Attributes:
        authorization: value of the header; None when there is none.
        certificate: client certificate and key, both PEM; None unless a plugin gave them.
    """

    authorization: str | None = field(default=None, repr=False)
    certificate: tuple[str, str] | None = field(default=None, repr=False)


class Credentials(Protocol):
    """Where the credential of the next request comes from."""

    async def get(self) -> Credential:
        """Return the credential to use now; raises ClusterUnavailable when there is none at the moment."""

    def refused(self, credential: Credential) -> None:
        """Take note that the API server does not accept this one."""


class Fixed:
    """A credential that never changes."""

    def __init__(self, authorization: str | None) -> None:
        self._credential = Credential(authorization=authorization)

    async def get(self) -> Credential:
        """Return it."""
        return self._credential

    def refused(self, credential: Credential) -> None:
        """Do nothing: there is no other."""


class TokenFile:
    """A bearer token in a file that somebody else renews, such as the kubelet for a pod's ServiceAccount."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises OSError or ValueError when there is no token in it."""
        self._path = path
        self._lost = False
        self._credential = self._read()
        self._read_again_at = time.monotonic() + _TOKEN_FILE_SECONDS

    async def get(self) -> Credential:
        """Return the token as it was a minute ago at most; what cannot be read now leaves the last one in use."""
        if time.monotonic() >= self._read_again_at:
            self._refresh()
        return self._credential

    def refused(self, credential: Credential) -> None:
        """Read the file for the next request."""
        if credential is self._credential:
            self._read_again_at = 0.0

    def _refresh(self) -> None:
        try:
            self._credential = self._read()
            self._lost = False
            self._read_again_at = time.monotonic() + _TOKEN_FILE_SECONDS
        except (OSError, ValueError) as error:
            if not self._lost:
                log.warning("The token of the cluster cannot be read again, the last one stays in use: %s", error)
            self._lost = True

    def _read(self) -> Credential:
        words = self._path.read_text().split()
        if len(words) != 1:
            raise ValueError(f"{self._path} must hold one token and nothing else")
        return Credential(authorization=f"Bearer {words[0]}")


class _Status(BaseModel):
    """What a plugin hands out."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: str | None = Field(None, min_length=1, repr=False)
    certificate: str | None = Field(None, alias="clientCertificateData", repr=False)
    key: str | None = Field(None, alias="clientKeyData", repr=False)
    expires_at: AwareDatetime | None = Field(None, alias="expirationTimestamp")


class _ExecCredential(BaseModel):
    """A plugin's output (Kubernetes documentation: "client-go credential plugins")."""

    model_config = ConfigDict(hide_input_in_errors=True)

    version: str = Field(alias="apiVersion")
    kind: Literal["ExecCredential"]
    status: _Status


class ExecPlugin:
    """A program that hands out tokens or certificates; it is run when the last one has expired or was refused."""

    def __init__(self, plugin: Mapping[str, Any], *, folder: Path, cluster: Mapping[str, Any]) -> None:
        """Take a kubeconfig's `exec`; nothing is run yet.

        Args:
            plugin: the section of the kubeconfig.
            folder: of the kubeconfig: a command with a slash is relative to it.
            cluster: what the plugin is told of the cluster when it wants that (`spec.cluster` of ExecCredential).

        Raises:
            ValueError: the section is not complete.
        """
        command, version = plugin.get("command"), plugin.get("apiVersion")
        if not isinstance(command, str) or not command or not isinstance(version, str):
            raise ValueError("the user's exec must have command and apiVersion")
        self._command, self._version = command, version
        program = str(folder / command) if "/" in command else command
        self._arguments = (program, *map(str, plugin.get("args") or ()))
        self._hint = str(plugin.get("installHint") or "")
        spec = {"interactive": False, **({"cluster": cluster} if plugin.get("provideClusterInfo") else {})}
        info = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})
        extra = {str(item["name"]): str(item["value"]) for item in plugin.get("env") or ()}
        self._environment = {**extra, "KUBERNETES_EXEC_INFO": info}
        self._lock = asyncio.Lock()
        self._credential: Credential | None = None
        self._expires_at: datetime | None = None
        self._failure = ""
        self._wait_until = 0.0

    async def get(self) -> Credential:
        """Return what the plugin has handed out, running it when that is over.

        Raises:
            ClusterUnavailable: it cannot be run, fails, or answers something else; its answer is never repeated.
        """
        async with self._lock:
            if self._credential is not None and not self._expired():
                return self._credential
            if time.monotonic() < self._wait_until:
                raise ClusterUnavailable(self._failure)
            try:
                self._credential = self._accept(await self._run())
            except ClusterUnavailable as error:
                self._failure, self._wait_until = str(error), time.monotonic() + _AFTER_FAILURE_SECONDS
                raise
            return self._credential

    def refused(self, credential: Credential) -> None:
        """Run the plugin for the next request, unless that has been done already."""
        if credential is self._credential:
            self._credential = None

    def _expired(self) -> bool:
        return self._expires_at is not None and datetime.now(UTC) >= self._expires_at - _EARLY

    async def _run(self) -> bytes:
        """Return the plugin's standard output; what it has to complain goes to our standard error, as with kubectl."""
        process = None
        try:
            async with asyncio.timeout(_PLUGIN_SECONDS):
                process = await asyncio.create_subprocess_exec(
                    *self._arguments,
                    env={**_passed_on(), **self._environment},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                )
                output, _ = await process.communicate()
        except TimeoutError:
            raise self._failed(f"does not answer within {_PLUGIN_SECONDS:g} s") from None
        except OSError as error:
            hint = f"; {self._hint}" if self._hint else ""
            raise self._failed(f"cannot be started ({type(error).__name__}){hint}") from error
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise self._failed(f"ended with status {process.returncode}")
        return output

    def _accept(self, output: bytes) -> Credential:
        try:
            answer = _ExecCredential.model_validate_json(output)
        except ValidationError as error:
            # Not as its cause: pydantic's own text may show values.
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self._failed(f"answers no ExecCredential: {where or 'the answer'}: {first['msg']}") from None
        if answer.version != self._version:
            raise self._failed(f"must answer in apiVersion {self._version}")
        return self._credential_of(answer.status)

    def _credential_of(self, status: _Status) -> Credential:
        self._expires_at = status.expires_at
        pair = (status.certificate, status.key) if status.certificate and status.key else None
        if pair is not None:
            self._check(pair)
        if status.token is None and pair is None:
            raise self._failed("hands out neither a token nor a certificate with its key")
        authorization = None if status.token is None else f"Bearer {status.token.strip()}"
        return Credential(authorization=authorization, certificate=pair)

    def _check(self, pair: tuple[str, str]) -> None:
        try:
            load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pair)
        except ssl.SSLError:
            raise self._failed("hands out what cannot be used: the certificate does not fit its key") from None

    def _failed(self, what: str) -> ClusterUnavailable:
        return ClusterUnavailable(f"the credential plugin {self._command} of the kubeconfig {what}")


def _passed_on() -> dict[str, str]:
    """Return what a plugin sees of our environment: all but secrets, which are no business of another's program."""
    return {name: value for name, value in os.environ.items() if name.upper() not in _WITHHELD}


def load_certificate(context: ssl.SSLContext, pair: tuple[str, str]) -> None:
    """Show this certificate in the connections that are made from now on; ssl.SSLError if it does not fit its key."""
    # OpenSSL takes files only; this one is gone before the call returns.
    with tempfile.NamedTemporaryFile("w", prefix="billing-", suffix=".pem") as file:
        file.write("\n".join(pair))
        file.flush()
        context.load_cert_chain(file.name)
