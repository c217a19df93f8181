"""CustomerInstance as a frozen object, parsed once at the edge from what the API server admitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from customer_operator import naming
from customer_operator.errors import InstanceInvalid
from customer_operator.model import quantity

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


class Plan(StrEnum):
    """What a customer pays for, from the smallest to the largest."""

    TRIAL = "trial"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """The place in the order of plans, from 0; a higher plan includes the lower."""
        return list(Plan).index(self)


class Exposure(StrEnum):
    """How devices reach the MQTT broker."""

    SNI = "SNI"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL = "External"


class DeletionPolicy(StrEnum):
    """What deletion does to the data."""

    DELETE = "Delete"
    RETAIN = "Retain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Customer:
    """Who the instance belongs to."""

    id: str
    email: str
    company_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class License:
    """Where the license is: inline in `key`, or in a Secret of the operator's namespace."""

    key: str | None = None
    secret_name: str | None = None
    secret_key: str = "license"  # noqa: S105 - a key's name within a Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalBroker:
    """A broker run by somebody else; its login, if any, is in a Secret of the operator's namespace."""

    host: str
    port: int = 8883
    tls: bool = True
    credentials_secret: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mqtt:
    """How devices reach the broker; `external` exactly when the exposure is External."""

    exposure: Exposure = Exposure.SNI
    external: ExternalBroker | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """A volume's size (canonical quantity) and StorageClass; None keeps the plan's size and the cluster's default."""

    size: str | None = None
    storage_class: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """CPU and memory as canonical quantities; None keeps the plan's."""

    cpu: str | None = None
    memory: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceOverride:
    """Requests and limits of one component, as far as they differ from the plan's."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerInstance:
    """The resource as its author wrote it; the mappings are keyed like the contract (postgres, mqttExporter, …)."""

    name: str
    uid: str
    generation: int
    created_at: datetime
    finalizers: tuple[str, ...] = ()
    retry_at: str | None = None
    customer: Customer
    plan: Plan = Plan.TRIAL
    license: License | None = None
    mqtt: Mqtt = Mqtt()
    hostname: str | None = None
    storage: Mapping[str, Volume] = field(default_factory=dict)
    resources: Mapping[str, ResourceOverride] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    suspend: bool = False
    deletion_protection: bool = False
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionRequest:
    """What a deletion has to know of a resource, and all it needs to be readable of it."""

    name: str
    uid: str
    generation: int
    since: datetime
    finalizers: tuple[str, ...] = ()
    policy: DeletionPolicy = DeletionPolicy.DELETE
    customer_id: str | None = None


def parse_deletion(body: Mapping[str, Any]) -> DeletionRequest | None:
    """Return what is to be deleted, however unreadable its spec may be; None when nobody has asked for it.

    A policy that cannot be understood keeps the data.
    """
    metadata, spec = body["metadata"], body.get("spec") or {}
    if not metadata.get("deletionTimestamp"):
        return None
    policy = spec.get("deletionPolicy", DeletionPolicy.DELETE)
    customer = spec.get("customer")
    return DeletionRequest(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        since=_time(metadata["deletionTimestamp"]),
        finalizers=tuple(metadata.get("finalizers") or ()),
        policy=DeletionPolicy.DELETE if policy == DeletionPolicy.DELETE else DeletionPolicy.RETAIN,
        customer_id=customer.get("id") if isinstance(customer, Mapping) else None,
    )


def parse(body: Mapping[str, Any]) -> CustomerInstance:
    """Return the instance that a resource describes.

    The schema has been enforced by the API server; what still cannot be carried out raises InstanceInvalid, which
    names the field and the cure.
    """
    metadata, spec = body["metadata"], _mapping(body, "spec")
    annotations = metadata.get("annotations") or {}
    return CustomerInstance(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        created_at=_time(metadata["creationTimestamp"]),
        finalizers=tuple(metadata.get("finalizers") or ()),
        retry_at=annotations.get(naming.RETRY_AT_ANNOTATION),
        customer=_customer(_mapping(spec, "customer")),
        plan=_enum(spec.get("plan", Plan.TRIAL), kind=Plan, at="spec.plan"),
        license=_license(spec["license"]) if spec.get("license") else None,
        mqtt=_mqtt(spec.get("mqtt") or {}),
        hostname=spec.get("hostname"),
        storage=_each(spec, "storage", _volume),
        resources=_each(spec, "resources", _override),
        images=_each(spec, "images", lambda image, _: str(image)),
        suspend=spec.get("suspend", False),
        deletion_protection=spec.get("deletionProtection", False),
        deletion_policy=_enum(
            spec.get("deletionPolicy", DeletionPolicy.DELETE), kind=DeletionPolicy, at="spec.deletionPolicy"
        ),
        paused=spec.get("paused", False),
    )


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    if not isinstance(value, Mapping):
        raise InstanceInvalid(key if key == "spec" else f"spec.{key}", "it is missing; give it an object")
    return value


def _customer(value: Mapping[str, Any]) -> Customer:
    for name in ("id", "email", "companyName"):
        if not value.get(name):
            raise InstanceInvalid(f"spec.customer.{name}", "it is missing; give it a value")
    return Customer(id=value["id"], email=value["email"], company_name=value["companyName"])


def _license(value: Mapping[str, Any]) -> License:
    reference = value.get("secretRef")
    if bool(value.get("key")) == bool(reference):
        raise InstanceInvalid("spec.license", "set exactly one of key and secretRef")
    if not reference:
        return License(key=value["key"])
    return License(secret_name=reference["name"], secret_key=reference.get("key", "license"))


def _mqtt(value: Mapping[str, Any]) -> Mqtt:
    exposure = _enum(value.get("exposure", Exposure.SNI), kind=Exposure, at="spec.mqtt.exposure")
    external = value.get("external")
    if (exposure is Exposure.EXTERNAL) != bool(external):
        raise InstanceInvalid("spec.mqtt.external", "it belongs to exposure External, and to no other")
    return Mqtt(exposure=exposure, external=_external(external) if external else None)


def _external(value: Mapping[str, Any]) -> ExternalBroker:
    secret = value.get("credentialsSecretRef")
    return ExternalBroker(
        host=value["host"],
        port=value.get("port", 8883),
        tls=value.get("tls", True),
        credentials_secret=secret["name"] if secret else None,
    )


def _volume(value: Mapping[str, Any], at: str) -> Volume:
    return Volume(size=_quantity(value, "size", at), storage_class=value.get("storageClassName"))


def _override(value: Mapping[str, Any], at: str) -> ResourceOverride:
    requests = _amounts(value.get("requests") or {}, f"{at}.requests")
    limits = _amounts(value.get("limits") or {}, f"{at}.limits")
    for name, request, limit in (("cpu", requests.cpu, limits.cpu), ("memory", requests.memory, limits.memory)):
        if request and limit and quantity.parse(request) > quantity.parse(limit):
            raise InstanceInvalid(f"{at}.requests.{name}", f"{request} exceeds the limit of {limit}; lower it")
    return ResourceOverride(requests=requests, limits=limits)


def _amounts(value: Mapping[str, Any], at: str) -> Amounts:
    return Amounts(cpu=_quantity(value, "cpu", at, step=quantity.MILLI), memory=_quantity(value, "memory", at))


def _quantity(value: Mapping[str, Any], key: str, at: str, *, step: Decimal = quantity.UNIT) -> str | None:
    if key not in value:
        return None
    try:
        return quantity.canonical(str(value[key]), step)
    except ValueError as error:
        raise InstanceInvalid(f"{at}.{key}", str(error)) from error


def _each(spec: Mapping[str, Any], key: str, convert: Callable[[Any, str], T]) -> Mapping[str, T]:
    values = spec.get(key) or {}
    return MappingProxyType({name: convert(value, f"spec.{key}.{name}") for name, value in values.items()})


def _enum(value: str, *, kind: type[E], at: str) -> E:
    try:
        return kind(value)
    except ValueError as error:
        raise InstanceInvalid(at, f"{value!r} is unknown; use one of {', '.join(kind)}") from error


def _time(text: str) -> datetime:
    """Return a time of the API server's, which are always whole RFC 3339 times in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
