"""Secrets that instances refer to: in the operator's namespace, each labelled for the one instance that may use it.

Without the label whoever may write a CustomerInstance could have any Secret of that namespace copied into his own.
"""

from typing import Final

from customer_operator import naming
from customer_operator.credentials.client import SecretReader
from customer_operator.credentials.encoding import data_of, decode
from customer_operator.errors import InstanceInvalid
from customer_operator.model.credentials import Login
from customer_operator.model.instance import CustomerInstance

_LICENSE_LENGTH: Final = 8192  # as spec.license.key in the contract
_LOGIN_LENGTH: Final = 65535  # bytes that a field of an MQTT packet holds (MQTT 5.0, sections 1.5.4 and 1.5.6)


class ReferencedSecrets:
    """Reads the license and the login that an instance refers to."""

    def __init__(self, client: SecretReader, namespace: str) -> None:
        """Take the operator's own namespace, where the Secrets are."""
        self._client = client
        self._namespace = namespace

    async def license_key(self, instance: CustomerInstance) -> str | None:
        """Return the license, inline or from its Secret; None when the instance has none.

        Raises InstanceInvalid when the instance has no such Secret, or nothing usable is in it.
        """
        given, field = instance.license, "spec.license.secretRef"
        if given is None or given.secret_name is None:
            return given.key if given else None
        data = await self._data(instance, given.secret_name, field=field)
        text = _text(data, given.secret_key, secret=given.secret_name, field=f"{field}.key").strip()
        if not 0 < len(text) <= _LICENSE_LENGTH:
            raise _unusable(f"{field}.key", given.secret_name, given.secret_key, "is empty or too long for a license")
        return text

    async def external_login(self, instance: CustomerInstance) -> Login | None:
        """Return the login to an external broker, from its Secret; None for anonymous, or without such a broker.

        Raises InstanceInvalid when the instance has no such Secret, or nothing usable is in it.
        """
        external, field = instance.mqtt.external, "spec.mqtt.external.credentialsSecretRef"
        if external is None or external.credentials_secret is None:
            return None
        secret = external.credentials_secret
        data = await self._data(instance, secret, field=field)
        username, password = (_login(data, key, secret=secret, field=field) for key in ("username", "password"))
        return Login(username=username, password=password)

    async def _data(self, instance: CustomerInstance, secret: str, *, field: str) -> dict[str, str]:
        """Return the Secret's data. One refusal for all: it must not tell which Secrets of others there are."""
        live = await self._client.get("Secret", secret, namespace=self._namespace)
        labels = (live["metadata"].get("labels") or {}) if live else {}
        if labels.get(naming.INSTANCE_LABEL) != instance.name:
            label = f"{naming.INSTANCE_LABEL}={instance.name}"
            text = f"namespace {self._namespace} has no Secret {secret} for this instance"
            raise InstanceInvalid(field, f"{text}; create it there with the label {label}")
        return data_of(live)


def _login(data: dict[str, str], key: str, *, secret: str, field: str) -> str:
    text = _text(data, key, secret=secret, field=field)
    if not text:
        raise _unusable(field, secret, key, "is empty")
    if len(text.encode()) > _LOGIN_LENGTH:
        raise _unusable(field, secret, key, f"is longer than {_LOGIN_LENGTH} bytes")
    if any(character in text for character in "\r\n\0"):
        # NUL cannot be in an environment variable; a line break comes from a file that ends with one.
        raise _unusable(field, secret, key, "contains a line break or NUL")
    return text


def _text(data: dict[str, str], key: str, *, secret: str, field: str) -> str:
    if key not in data:
        raise InstanceInvalid(field, f"Secret {secret} has no key {key!r}; add it")
    try:
        return decode(data[key])
    except ValueError as error:
        raise _unusable(field, secret, key, str(error)) from None


def _unusable(field: str, secret: str, key: str, problem: str) -> InstanceInvalid:
    return InstanceInvalid(field, f"key {key!r} of Secret {secret} {problem}; write it again")
