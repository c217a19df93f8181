"""Secrets of the operator's namespace that instances refer to."""

from customer_operator.credentials import generation
from customer_operator.errors import InstanceInvalid
from customer_operator.kube.client import KubeClient
from customer_operator.model.credentials import Login
from customer_operator.model.instance import CustomerInstance


class ReferencedSecrets:
    """Reads them."""

    def __init__(self, client: KubeClient, *, namespace: str) -> None:
        """Take where to read."""
        self._client = client
        self._namespace = namespace

    async def license_key(self, instance: CustomerInstance) -> str | None:
        """Return the licence, inline or from its Secret in the operator's namespace; None when there is none.

        Raises InstanceInvalid when the Secret does not have it.
        """
        given = instance.license
        if given is None or given.secret_name is None:
            return given.key if given else None
        values = await self._referred(given.secret_name, field="spec.license.secretRef")
        if given.secret_key not in values:
            raise InstanceInvalid(
                "spec.license.secretRef.key", f"Secret {given.secret_name} has no key {given.secret_key!r}"
            )
        return values[given.secret_key].strip()

    async def external_login(self, instance: CustomerInstance) -> Login | None:
        """Return the login to an external broker, from its Secret in the operator's namespace; None for anonymous.

        Raises InstanceInvalid when the Secret does not have it.
        """
        external = instance.mqtt.external
        if external is None or external.credentials_secret is None:
            return None
        field = "spec.mqtt.external.credentialsSecretRef"
        values = await self._referred(external.credentials_secret, field=field)
        missing = sorted({"username", "password"} - set(values))
        if missing:
            raise InstanceInvalid(field, f"Secret {external.credentials_secret} lacks {' and '.join(missing)}")
        return Login(username=values["username"], password=values["password"])

    async def _referred(self, secret: str, *, field: str) -> dict[str, str]:
        namespace = self._namespace
        live = await self._client.get("Secret", secret, namespace=namespace)
        if live is None:
            raise InstanceInvalid(field, f"there is no Secret {secret} in namespace {namespace}; create it there")
        return generation.decode(live)
