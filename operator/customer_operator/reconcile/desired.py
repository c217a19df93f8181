"""The context builder: gathers all that the builders need, and returns what an instance shall consist of."""

from collections import OrderedDict
from datetime import datetime

from customer_operator.components import stack
from customer_operator.components.context import Context
from customer_operator.credentials.issued import IssuedCertificates
from customer_operator.credentials.references import ReferencedSecrets
from customer_operator.licensing.entitlement import Decision
from customer_operator.licensing.keys import KeySet
from customer_operator.model.credentials import Credentials
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed import drift

_REMEMBERED_BUILDS = 64


class ContextBuilder:
    """Builds what is desired; a context that has not changed is not built again."""

    def __init__(
        self, *, platform: Platform, keys: KeySet, references: ReferencedSecrets, certificates: IssuedCertificates
    ) -> None:
        """Take what is the same for all instances, where the Secrets are that they refer to, and their certificates."""
        self._platform = platform
        self._keys = keys
        self._references = references
        self._certificates = certificates
        self._builds: OrderedDict[str, tuple[Context, list[Manifest]]] = OrderedDict()

    def foundation(self, instance: CustomerInstance) -> list[Manifest]:
        """Return the Namespace and the RoleBinding, each with its hash."""
        return [drift.with_hash(item) for item in stack.foundation(instance, self._platform)]

    async def objects(
        self, instance: CustomerInstance, decision: Decision, credentials: Credentials, *, now: datetime
    ) -> list[Manifest]:
        """Return everything else, each with its hash, in the order of the components.

        Raises InstanceInvalid when a Secret that the instance refers to cannot be used, and the errors of the cluster.
        """
        context = Context(
            instance=instance,
            plan=decision.plan,
            features=decision.features,
            limits=decision.limits,
            platform=self._platform,
            credentials=credentials,
            license_key=await self._references.license_key(instance),
            license_jwks=self._keys.document(),
            external_login=await self._references.external_login(instance),
            has_cert_manager=self._certificates.available,
            issued=self._certificates.for_broker(instance, now=now),
            scaled_down=decision.suspended is not None,
        )
        return self._build(context)

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._builds.pop(name, None)

    def _build(self, context: Context) -> list[Manifest]:
        """Return the objects; the builders are pure, so equal contexts give equal objects."""
        known = self._builds.get(context.name)
        if known is not None and known[0] == context:
            self._builds.move_to_end(context.name)
            return known[1]
        built = [drift.with_hash(item) for item in stack.objects(context)]
        self._builds[context.name] = (context, built)
        if len(self._builds) > _REMEMBERED_BUILDS:
            self._builds.popitem(last=False)
        return built
