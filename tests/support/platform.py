"""The product on a cluster whose pods truly run: installed as an administrator would, used as a customer does."""

import base64
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.demo.signup import sign_up
from tests.support.clusters import Cluster
from tests.support.kubernetes import Kubernetes, in_phase, is_gone
from tests.support.mqtt import Login, MqttClient, NamedContext

# From nothing to Ready on a machine that has other things to do; a healthy one takes half a minute.
PATIENCE = 240.0
_ACCESS_TOKEN = ("python", "-m", "reference_api", "access-token")


@dataclass(frozen=True, kw_only=True)
class Customer:
    """Who has signed up, and the stack that came of it."""

    cluster: Cluster
    api: Kubernetes
    id: str
    name: str

    @property
    def namespace(self) -> str:
        """Where the stack is."""
        return f"customer-{self.name}"

    @property
    def host(self) -> str:
        """The host name of the dashboard and, below /api, of the API."""
        return f"{self.name}.iotistic.cloud"

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

    def secret(self, name: str) -> dict[str, str]:
        """Return a Secret's values."""
        data = self.api.get("Secret", name, namespace=self.namespace)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def execute(self, workload: str, *command: str) -> str:
        """Run a command in a workload's first container; return what it prints."""
        return self.cluster.kubectl("exec", "--namespace", self.namespace, workload, "--", *command)

    def sql(self, statement: str) -> str:
        """Run a statement in the stack's database as its superuser; return the bare values."""
        psql = ("psql", "-X", "-A", "-t", "-U", "postgres", "-d", "iotistic", "-c", statement)
        return self.execute("statefulset/postgres", *psql).strip()

    @contextmanager
    def web(self, port: int) -> Iterator[httpx.Client]:
        """Give a browser at the customer's host, by the Ingress controller's port of this machine."""
        # The controller shows a certificate of its own: there is no issuer here that could have signed another.
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, trust_env=False, timeout=30) as client:
            client.headers["Host"] = self.host
            yield client

    @contextmanager
    def devices(self) -> Iterator[httpx.Client]:
        """Give a client of the stack's API that knows its access token."""
        token = self.execute("deployment/api", *_ACCESS_TOKEN).strip()
        headers = {"Authorization": f"Bearer {token}"}
        with (
            self.cluster.reach(self.namespace, "api", 3002) as (host, port),
            httpx.Client(base_url=f"http://{host}:{port}", headers=headers, trust_env=False, timeout=30) as client,
        ):
            yield client

    def trusting(self) -> ssl.SSLContext:
        """Return what a device connects with: it asks for the broker's own name and trusts the customer's CA alone."""
        context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.secret("mosquitto-tls")["ca.crt"])
        context.server_name = f"mqtt.{self.host}"
        return context

    @contextmanager
    def broker(self, login: Login, **options: Any) -> Iterator[MqttClient]:
        """Connect a device by TLS, once."""
        with (
            self.cluster.reach(self.namespace, "mqtt", 8883) as (_, port),
            MqttClient(port, login, tls=self.trusting(), **options) as client,
        ):
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
