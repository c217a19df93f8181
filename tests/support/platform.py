"""The product on a cluster whose pods truly run: installed as an administrator would, used as a customer does."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.demo.signup import sign_up
from hack.platform import CustomerStack
from tests.support.clusters import Cluster
from tests.support.kubernetes import Kubernetes, in_phase, is_gone
from tests.support.mqtt import Login, MqttClient, NamedContext

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

    def delete(self) -> None:
        """Ask for the deletion of the instance, and so of the stack, unless it is gone."""
        if self.api.find(naming.KIND, self.name):
            self.api.delete(naming.KIND, self.name)

    def wait_gone(self) -> None:
        """Wait until nothing is left of the instance and its stack."""
        self.api.wait_for(naming.KIND, self.name, is_gone, timeout=PATIENCE)
        self.api.wait_for("Namespace", self.namespace, is_gone, timeout=PATIENCE)

    def pods(self) -> list[Manifest]:
        """Return the pods of the stack."""
        return self.api.items("Pod", namespace=self.namespace)

    def containers(self) -> list[Manifest]:
        """Return the statuses of the stack's containers."""
        return [status for pod in self.pods() for status in pod["status"]["containerStatuses"]]

    def restarts(self) -> dict[str, int]:
        """Return how often each container of the stack has been started again."""
        return {status["name"]: status["restartCount"] for status in self.containers()}

    def all_ready(self) -> bool:
        """Tell whether every container is, as the kubelet sees it; the instance's status comes a moment later."""
        return all(status["ready"] for status in self.containers())

    @contextmanager
    def web(self, port: int) -> Iterator[httpx.Client]:
        """Give a browser at the customer's host, by the Ingress controller's port of this machine."""
        # The controller shows a certificate of its own: there is no issuer here that could have signed another.
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, trust_env=False, timeout=30) as client:
            client.headers["Host"] = self.host
            yield client

    @contextmanager
    def browser(self, login: Login, *, port: int) -> Iterator[MqttClient]:
        """Connect as a web page would, by WebSocket at the customer's host, by the Ingress controller's port."""
        # As in `web`.
        unverified = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        unverified.server_name = self.host
        with MqttClient(port, login, tls=unverified, transport="websockets", web_host=self.host) as client:
            yield client

    @contextmanager
    def broker(self, login: Login, **options: Any) -> Iterator[MqttClient]:
        """Connect a device by the front door, once."""
        _, port = self.cluster.front_door
        with MqttClient(port, login, tls=self.trust(), **options) as client:
            yield client


SignUp = Callable[[str], Customer]  # given an email address that has no account yet


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
