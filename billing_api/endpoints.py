"""The doorways of HTTP: read the request, call one function, answer."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from billing_api.accounts import render
from billing_api.accounts.limits import LOGIN_LIMITS, SIGNUP_LIMITS, Limits
from billing_api.accounts.login import Logins
from billing_api.accounts.sessions import COOKIE, Session, Sessions
from billing_api.accounts.signup import Signups
from billing_api.accounts.validation import parse_login, parse_signup
from billing_api.db import accounts as account_rows
from billing_api.db import outbox as outbox_rows
from billing_api.db import signing_keys
from billing_api.db.pool import Database
from billing_api.deployments import status as deployments
from billing_api.errors import DatabaseUnavailable, ServiceUnavailable
from billing_api.http import answers
from billing_api.http.problems import not_found
from billing_api.http.requests import idempotency_key, read_object
from billing_api.kube.instances import NO_SIGHT
from billing_api.kube.watch import InstanceWatch
from billing_api.metrics import Metrics
from billing_api.settings import Settings


@dataclass(kw_only=True)
class Services:
    """What the endpoints work with; kept in ``app.state.services``.

    Attributes:
        watch: None without a cluster.
        broken: name of a background task that has ended with an exception, or None.
    """

    settings: Settings
    database: Database
    signups: Signups
    logins: Logins
    limits: Limits
    sessions: Sessions
    metrics: Metrics
    openapi: dict[str, Any]
    watch: InstanceWatch | None = None
    broken: str | None = None


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def signup(request: Request) -> Response:
    """POST /api/customers/signup."""
    services = _services(request)
    key = idempotency_key(request)
    wanted = parse_signup(await read_object(request))
    client = request.client.host if request.client else ""
    await services.limits.count(SIGNUP_LIMITS, account=None, client=client)
    outcome = await services.signups.sign_up(wanted, key=key, client=client)
    body = render.signup(outcome.account, outcome.session, settings=services.settings)
    response = render.response(body, status=201)
    response.headers["Location"] = body.deployment.check_status_url
    if outcome.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return _with_cookie(response, outcome.session, settings=services.settings)


async def login(request: Request) -> Response:
    """POST /api/customers/login."""
    services = _services(request)
    wanted = parse_login(await read_object(request))
    client = request.client.host if request.client else ""
    await services.limits.count(LOGIN_LIMITS, account=wanted.email_key, client=client)
    outcome = await services.logins.log_in(wanted, client=client)
    response = render.response(render.login(outcome.account, outcome.session))
    return _with_cookie(response, outcome.session, settings=services.settings)


async def logout(request: Request) -> Response:
    """POST /api/customers/logout."""
    await _services(request).sessions.end(request)
    response = Response(status_code=204, headers={"Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


async def deployment_status(request: Request) -> Response:
    """GET /api/customers/{customer_id}/deployment/status."""
    services, customer_id = _services(request), request.path_params["customer_id"]
    unknown = not_found("customer_id is not known, or not yours to see", field="customer_id")
    if (await services.sessions.holder_of(request)).customer_id != customer_id:
        raise unknown
    async with services.database.transaction() as connection:
        name = await account_rows.find_instance_name(connection, customer_id)
        progress = await outbox_rows.progress(connection, customer_id)
    if name is None:
        raise unknown
    applied = progress.applied_resource_version if progress else None
    sight = services.watch.look(name, applied=applied) if services.watch else NO_SIGHT
    body = deployments.describe(name=name, sight=sight, outbox=progress, base_domain=services.settings.base_domain)
    return render.response(body)


async def live(request: Request) -> Response:
    """GET /health/live."""
    broken = _services(request).broken
    if broken:
        raise ServiceUnavailable(f"The background task {broken} has failed; this process must be restarted")
    return render.response(answers.LiveAnswer(status="alive"))


async def ready(request: Request) -> Response:
    """GET /health/ready. Kubernetes may be away: signups work without it."""
    services = _services(request)
    async with services.database.transaction() as connection:
        await connection.execute("SELECT 1")
    body = answers.ReadyAnswer(status="ready", database="connected", kubernetes=_kubernetes(services.watch))
    return render.response(body)


async def metrics(request: Request) -> Response:
    """GET /metrics."""
    services = _services(request)
    try:
        async with services.database.transaction() as connection:
            services.metrics.outbox_pending.set(await outbox_rows.count_pending(connection))
    except DatabaseUnavailable:
        # All else is worth reporting just then.
        services.metrics.outbox_pending.set(float("nan"))
    services.metrics.watch_connected.set(services.watch is not None and services.watch.connected)
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def openapi(request: Request) -> Response:
    """GET /openapi.json."""
    return JSONResponse(_services(request).openapi)


async def jwks(request: Request) -> Response:
    """GET /.well-known/jwks.json."""
    async with _services(request).database.transaction() as connection:
        keys = await signing_keys.trusted(connection)
    return JSONResponse({"keys": keys}, headers={"Cache-Control": "public, max-age=300"})


def _kubernetes(watch: InstanceWatch | None) -> answers.KubernetesState:
    if watch is None:
        return "not configured"
    return "connected" if watch.connected else "disconnected"


def _with_cookie(response: Response, session: Session, *, settings: Settings) -> Response:
    lifetime = session.expires_at - datetime.now(UTC)
    response.set_cookie(
        COOKIE,
        session.token,
        max_age=int(lifetime.total_seconds()),
        httponly=True,
        samesite="lax",
        # On localhost there is no TLS, and browsers would drop a Secure cookie.
        secure=settings.base_domain != "localhost",
    )
    return response
