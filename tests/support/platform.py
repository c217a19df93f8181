"""The product on a cluster whose pods truly run: installed as an administrator would, used as a customer does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.demo.signup import sign_up
from hack.platform import CustomerStack
from tests.support.clusters import Cluster
from tests.support.kubernetes import Kubernetes, in_phase
from tests.support.mqtt import Login, MqttClient

# From nothing to Ready on a machine that has other things to do; a healthy one takes half a minute.
PATIENCE = 240.0


@dataclass(frozen=True, kw_only=True)
class Customer(CustomerStack):
    """Who has signed up, and the stack that came of it."""

    cluster: Cluster
    api: Kubernetes
    id: str

    def wait_ready(self) -> Manifest:
        """Wait until the instance is Ready; return it."""
        return self.api.wait_for(naming.KIND, self.name, in_phase("Ready"), timeout=PATIENCE)

    def pods(self) -> list[Manifest]:
        """Return the pods of the stack."""
        return self.api.items("Pod", namespace=self.namespace)

    @contextmanager
    def web(self, port: int) -> Iterator[httpx.Client]:
        """Give a browser at the customer's host, by the Ingress controller's port of this machine."""
        # The controller shows a certificate of its own: there is no issuer here that could have signed another.
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, trust_env=False, timeout=30) as client:
            client.headers["Host"] = self.host
            yield client

    @contextmanager
    def broker(self, login: Login, **options: Any) -> Iterator[MqttClient]:
        """Connect a device by TLS, to the broker's own name, trusting the customer's CA alone."""
        with (
            self.cluster.reach(self.namespace, "mqtt", 8883) as (_, port),
            MqttClient(port, login, tls=self.trust(), **options) as client,
        ):
            yield client


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Operator and billing API, as pods."""

    cluster: Cluster
    api: Kubernetes

    def sign_up(self, email: str) -> Customer:
        """Sign up by HTTP; return as soon as it is answered, which is before anything is deployed."""
        with self.cluster.reach("billing", "billing-api", 80) as (host, port):
            signup = sign_up(f"http://{host}:{port}", email=email)
        return Customer(cluster=self.cluster, api=self.api, id=signup.customer_id, name=signup.instance)
