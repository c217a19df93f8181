"""What the platform refuses of a spec that the API server has admitted; pure."""

from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform


def check(instance: CustomerInstance, platform: Platform) -> None:
    """Raise InstanceInvalid for a spec that this platform does not carry out."""
