"""What the builders are given: everything that decides the objects, read and generated beforehand by others."""

from dataclasses import dataclass, field

from customer_operator import naming
from customer_operator.model.credentials import Credentials, Login
from customer_operator.model.instance import CustomerInstance, Exposure, Plan
from customer_operator.model.plans import Features, Limits
from customer_operator.model.platform import Platform
from customer_operator.observed.certificates import IssuedCertificate


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """All that the builders of one instance know. `plan`, `features` and `limits` are in force, whatever spec asks for.

    `license_jwks` is the public key set (JWKS document) by which the instance's API verifies its license.
    `scaled_down` keeps every object and all data, with no pod running. `external_login` belongs to spec.mqtt.external.
    `has_cert_manager` tells whether the cluster knows Certificates; `issued` is the one that the broker is to use, None
    for that of the platform's own authority.
    """

    instance: CustomerInstance
    plan: Plan
    features: Features
    limits: Limits
    platform: Platform
    credentials: Credentials
    license_key: str | None = field(default=None, repr=False)
    license_jwks: str | None = None
    external_login: Login | None = None
    has_cert_manager: bool = False
    issued: IssuedCertificate | None = None
    scaled_down: bool = False

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.instance.name

    @property
    def namespace(self) -> str:
        """The instance's namespace."""
        return naming.namespace_of(self.instance.name)

    @property
    def exposure(self) -> Exposure:
        """How devices reach the broker here, whatever spec asks for."""
        return self.platform.exposure(self.instance.mqtt.exposure)

    @property
    def web_host(self) -> str:
        """The host of dashboard and API: the customer's own domain, or one under the platform's."""
        platform = self.platform
        return self.instance.hostname or naming.web_host(self.name, platform.base_domain, platform.web_host_template)

    @property
    def mqtt_host(self) -> str:
        """The host that devices connect to."""
        return naming.mqtt_host(self.name, self.platform.base_domain, self.platform.mqtt_host_template)

    def image(self, component: str) -> str:
        """Return the image of a component, by its key in the contract; KeyError when the platform names none."""
        return self.instance.images.get(component) or self.platform.images[component]

    def replicas(self, wanted: int = 1) -> int:
        """Return the number of pods to run: none while the instance is scaled down."""
        return 0 if self.scaled_down else wanted
