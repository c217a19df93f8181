"""What the tests of the app say in one line."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from billing_api.http.call import Services
from billing_api.settings import Settings
from tests.support.billing import PASSWORD, session_of, signup_body, until_kubernetes_is


@dataclass(frozen=True)
class Billing:
    """A running app with an HTTP client."""

    client: httpx.AsyncClient
    app: Starlette

    @property
    def services(self) -> Services:
        """What the app's endpoints work with."""
        services: Services = self.app.state.services
        return services

    def at(self, address: str) -> Self:
        """Return the same app as somebody else's client sees it, who sends from another address."""
        transport = httpx.ASGITransport(app=self.app, client=(address, 40000))
        return replace(self, client=httpx.AsyncClient(transport=transport, base_url=self.client.base_url))

    async def sign_up(
        self, email: str = "john@example.com", *, key: str | None = None, **fields: Any
    ) -> httpx.Response:
        """POST a signup; further fields are added to the body."""
        body = {**signup_body(email), **fields}
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.client.post("/api/customers/signup", json=body, headers=headers)

    async def new_customer(self, email: str = "john@example.com") -> dict[str, Any]:
        """Sign up and return the answer."""
        response = await self.sign_up(email)
        assert response.status_code == 201, response.text
        # A browser would send the cookie; tests say which session they use.
        self.client.cookies.clear()
        answer: dict[str, Any] = response.json()
        return answer

    async def log_in(self, email: str = "john@example.com", password: str = PASSWORD) -> httpx.Response:
        """POST a login."""
        response = await self.client.post("/api/customers/login", json={"email": email, "password": password})
        self.client.cookies.clear()
        return response

    async def count(self, metric: str, **labels: str) -> float:
        """Return what this process has counted in a metric, over all series that have these labels."""
        return sum_of((await self.client.get("/metrics")).text, metric, **labels)

    async def until_kubernetes_is(self, wanted: str) -> httpx.Response:
        """Ask for readiness until it says so of Kubernetes."""
        return await until_kubernetes_is(self.client, wanted)

    async def status(self, signup: Mapping[str, Any]) -> dict[str, Any]:
        """GET the deployment status of a customer who has just signed up."""
        response = await self.client.get(signup["deployment"]["check_status_url"], headers=session_of(signup))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


#: Look into the database from outside: statement and parameters to rows.
Query = Callable[..., list[dict[str, Any]]]
#: Start the app with given settings, as often as wanted: each is a replica on the same database.
Start = Callable[[Settings], AbstractAsyncContextManager[Billing]]
#: The same for any database, by its URL.
StartAt = Callable[[str], Start]


def changed(settings: Settings, **values: Any) -> Settings:
    """Return settings that differ in a few values, checked like any."""
    return Settings(**{**settings.model_dump(), **values})


def sum_of(metrics: str, name: str, **labels: str) -> float:
    """Return what a metric counts in a text for Prometheus, over all series that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == name and sample.labels.items() >= labels.items()
    )
