"""The images that a platform and its customers' stacks need."""

from typing import Final

from customer_operator.settings import Settings
from hack.images.catalogue import HAPROXY, PRODUCT_VERSION

#: The product's own, the front door's, and all that the operator names by default, the database of the billing API
#: among them.
IMAGES: Final = (f"iotistic/customer-instance-operator:{PRODUCT_VERSION}", HAPROXY, *Settings().images.values())
