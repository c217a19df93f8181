"""What this platform refuses an instance, although the contract allows it; pure."""

from customer_operator.model import brokers, hostnames, images
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform


def check(instance: CustomerInstance, platform: Platform) -> None:
    """Raise InstanceInvalid, which names the field and the cure, for what the platform does not allow."""
    hostnames.check_name(instance.name, platform)
    for key, reference in instance.images.items():
        images.check(key, reference, platform)
    if instance.mqtt.external is not None:
        brokers.check(instance.mqtt.external, platform)
    if instance.hostname is not None:
        hostnames.check(instance.hostname, platform)
