"""The objects that the rivals write: those the operator would, built by its own builders beforehand."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.components.context import Context
from customer_operator.credentials import certificates
from customer_operator.credentials import generation as credentials
from customer_operator.credentials.encoding import encode
from customer_operator.kube.kinds import waves as grouped
from customer_operator.model.instance import CustomerInstance, parse
from customer_operator.model.plans import PLANS
from customer_operator.model.platform import Platform
from customer_operator.observed import drift
from customer_operator.settings import Settings

Manifest = dict[str, Any]
Waves = list[list[Manifest]]

# The defaults, whatever the environment says.
PLATFORM = Settings.model_construct(base_domain="localhost").platform()


def resource(name: str) -> Manifest:
    """Return the CustomerInstance that asks the operator for one tenant."""
    customer = {"id": name, "email": f"{name}@example.com", "companyName": name}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": name},
        "spec": {"customer": customer, "plan": "starter"},
    }


def build(names: Sequence[str]) -> list[Waves]:
    """Return the objects of each tenant, in the waves in which they can be applied.

    Without the owner that only the operator's have: garbage collection would remove what names an owner that is not.
    """
    now = datetime.now(UTC)
    authority = certificates.create_authority(now=now)
    return [_tenant(name, authority, now) for name in names]


def _tenant(name: str, authority: certificates.KeyPair, now: datetime) -> Waves:
    body = resource(name)
    body["metadata"] |= {"uid": "bench", "generation": 1, "creationTimestamp": now.isoformat()}
    waves = objects(parse(body), platform=PLATFORM, authority=authority, now=now)
    del waves[0][0]["metadata"]["ownerReferences"]
    return waves


def objects(instance: CustomerInstance, *, platform: Platform, authority: certificates.KeyPair, now: datetime) -> Waves:
    """Return the objects of an instance just as the operator writes them, in the waves in which it applies them."""
    hosts = naming.broker_hosts(instance.name, platform.base_domain, platform.mqtt_host_template)
    values = credentials.complete({}, authority=authority, hosts=hosts, now=now)
    row = PLANS[instance.plan]
    context = Context(
        instance=instance,
        plan=instance.plan,
        features=row.features,
        limits=row.limits,
        platform=platform,
        credentials=credentials.parse(values),
    )
    foundation, built = stack.foundation(instance, platform), stack.objects(context)
    secret = credentials.manifest(encode(values), instance_name=instance.name)
    namespace, binding, *rest = [drift.with_hash(item) for item in (*foundation, *built)]
    return [[namespace], [binding, secret], *grouped(rest)]
