"""The application: one route table, one factory, one lifespan."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from billing_api import endpoints
from billing_api.accounts.limits import Limits
from billing_api.accounts.login import Logins
from billing_api.accounts.origins import Pseudonyms
from billing_api.accounts.passwords import LANES, Passwords
from billing_api.accounts.replays import Replays
from billing_api.accounts.sessions import Sessions
from billing_api.accounts.signup import Signups
from billing_api.accounts.validation import LOGIN_FIELDS, SIGNUP_FIELDS
from billing_api.db import housekeeping, signing_keys
from billing_api.db.pool import Database
from billing_api.endpoints import Services
from billing_api.errors import (
    BodyTooLarge,
    EmailTaken,
    InvalidRequest,
    KeyReused,
    NotFound,
    RequestInProgress,
    ServiceUnavailable,
    TooManyAttempts,
    TooManyStacks,
    Unauthenticated,
    UnsupportedMediaType,
    WrongCredentials,
)
from billing_api.http import answers, openapi, problems
from billing_api.http.middleware import Observe
from billing_api.http.openapi import Endpoint
from billing_api.kube.client import Cluster, Configuration
from billing_api.kube.watch import InstanceWatch
from billing_api.licensing.keys import SigningKey, write_jwks
from billing_api.licensing.licenses import LicenseSigner
from billing_api.metrics import Metrics
from billing_api.outbox.worker import OutboxWorker
from billing_api.settings import Settings

log = logging.getLogger(__name__)

_BODY_PROBLEMS = (InvalidRequest, BodyTooLarge, UnsupportedMediaType)

ROUTES: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/api/customers/signup",
        handler=endpoints.signup,
        summary="Create an account with a trial",
        description="Creates the account, its trial subscription and its license, and has the customer's own stack "
        "deployed. Answers at once; follow the deployment at `deployment.check_status_url`.",
        body=SIGNUP_FIELDS,
        answer=answers.SignupAnswer,
        status=201,
        problems=(
            *_BODY_PROBLEMS,
            EmailTaken,
            RequestInProgress,
            KeyReused,
            TooManyAttempts,
            TooManyStacks,
            ServiceUnavailable,
        ),
        idempotent=True,
    ),
    Endpoint(
        method="POST",
        path="/api/customers/login",
        handler=endpoints.login,
        summary="Begin a session",
        description="The answer is the same, and takes as long, for a wrong password and for an unknown account.",
        body=LOGIN_FIELDS,
        answer=answers.LoginAnswer,
        problems=(*_BODY_PROBLEMS, WrongCredentials, TooManyAttempts, ServiceUnavailable),
    ),
    Endpoint(
        method="POST",
        path="/api/customers/logout",
        handler=endpoints.logout,
        summary="End the session",
        description="The token is worth nothing from now on.",
        status=204,
        problems=(Unauthenticated, ServiceUnavailable),
        session=True,
    ),
    Endpoint(
        method="GET",
        path="/api/customers/{customer_id}/deployment/status",
        handler=endpoints.deployment_status,
        summary="How far the deployment is",
        description="Read from the customer's CustomerInstance. There is no Helm release any more, so the older "
        "documents' `helm` is gone, and their `pods` are now `components`. Somebody else's customer is not found.",
        answer=answers.DeploymentAnswer,
        problems=(Unauthenticated, NotFound, ServiceUnavailable),
        session=True,
    ),
    Endpoint(
        method="GET",
        path="/health/live",
        handler=endpoints.live,
        summary="Whether the process works",
        description="503 when a background task has died: the process must be restarted.",
        answer=answers.LiveAnswer,
        problems=(ServiceUnavailable,),
    ),
    Endpoint(
        method="GET",
        path="/health/ready",
        handler=endpoints.ready,
        summary="Whether requests can be served",
        description="They can while the database answers; Kubernetes may be away.",
        answer=answers.ReadyAnswer,
        problems=(ServiceUnavailable,),
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        handler=endpoints.metrics,
        summary="Metrics for Prometheus",
        media_type="text/plain",
    ),
    Endpoint(method="GET", path="/openapi.json", handler=endpoints.openapi, summary="This document"),
    Endpoint(
        method="GET",
        path="/.well-known/jwks.json",
        handler=endpoints.jwks,
        summary="Public keys of the licenses",
        description="The same as the file jwks.json in DATA_DIR, which the operator mounts.",
        answer=answers.JwksAnswer,
        problems=(ServiceUnavailable,),
    ),
)


def create_app(
    settings: Settings,
    *,
    dsn: str,
    signing_key: SigningKey,
    kubernetes: Configuration | None = None,
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """Make the application; its lifespan opens and closes all that it needs.

    Args:
        settings: the settings.
        dsn: the database, with its schema up to date.
        signing_key: signs licenses.
        kubernetes: how to reach the cluster; None lets instances wait in the outbox.
        registry: where metrics are kept; a new one by default.
    """
    metrics = Metrics(registry or CollectorRegistry())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.services = await _start(stack, settings, dsn=dsn, signing_key=signing_key, metrics=metrics)
            await _follow_cluster(stack, app.state.services, kubernetes)
            yield

    app = Starlette(
        routes=[Route(row.path, row.handler, methods=[row.method]) for row in ROUTES],
        middleware=[Middleware(Observe, metrics=metrics)],
        exception_handlers=dict(problems.HANDLERS),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def _start(
    stack: AsyncExitStack, settings: Settings, *, dsn: str, signing_key: SigningKey, metrics: Metrics
) -> Services:
    """Build the services, each from the ones before it; the stack closes what must be closed."""
    database = await stack.enter_async_context(Database(dsn, size=settings.database_pool_size))
    await _publish_keys(database, signing_key, settings)
    secret = settings.session_secret.encode() or signing_key.derive("billing-api sessions")
    sessions = Sessions(database, secret=secret, lifetime=timedelta(minutes=settings.session_minutes))
    passwords = stack.enter_context(Passwords(queue=settings.password_queue))
    for lane in LANES:
        metrics.passwords_waiting.labels(lane).set_function(partial(passwords.waiting, lane))
    pseudonyms = Pseudonyms(signing_key.derive("billing-api limits"))
    limits = Limits(database, pseudonyms=pseudonyms, settings=settings, metrics=metrics)
    logins = Logins(database=database, passwords=passwords, sessions=sessions, limits=limits, metrics=metrics)
    signups = Signups(
        database=database,
        passwords=passwords,
        signer=LicenseSigner(signing_key, issuer=settings.license_issuer),
        sessions=sessions,
        replays=Replays(
            database=database,
            passwords=passwords,
            logins=logins,
            limits=limits,
            secret=signing_key.derive("billing-api idempotency"),
        ),
        limits=limits,
        pseudonyms=pseudonyms,
        settings=settings,
        metrics=metrics,
    )
    services = Services(
        settings=settings,
        database=database,
        signups=signups,
        logins=logins,
        limits=limits,
        sessions=sessions,
        metrics=metrics,
        openapi=openapi.build(ROUTES),
    )
    _background(stack, services, "housekeeping", housekeeping.run(database))
    return services


async def _publish_keys(database: Database, signing_key: SigningKey, settings: Settings) -> None:
    """Add our public key to those in the database, and write them all to jwks.json."""
    async with database.transaction() as connection:
        await signing_keys.remember(connection, signing_key.jwk)
        trusted = await signing_keys.trusted(connection)
    await asyncio.to_thread(write_jwks, settings.data_dir / "jwks.json", trusted)


async def _follow_cluster(stack: AsyncExitStack, services: Services, kubernetes: Configuration | None) -> None:
    """Start the outbox worker and the watch, if there is a cluster."""
    if kubernetes is None:
        log.warning("No Kubernetes cluster: set KUBECONFIG. Signups are taken; their instances wait in the outbox")
        return
    api = await stack.enter_async_context(Cluster.connect(kubernetes))
    worker = OutboxWorker(database=services.database, cluster=api, settings=services.settings, metrics=services.metrics)
    services.watch = InstanceWatch(api, on_connected=worker.cluster_is_back)
    _background(stack, services, "watch", services.watch.run())
    _background(stack, services, "outbox", worker.run(), stop=worker.stop)


#: An apply takes 15 seconds at most; Kubernetes grants a pod 30 to end.
_STOP_SECONDS = 20.0


def _background(
    stack: AsyncExitStack,
    services: Services,
    name: str,
    work: Coroutine[None, None, None],
    *,
    stop: Callable[[], None] | None = None,
) -> None:
    """Run a task until the stack closes: asked to stop where it can be, cancelled otherwise."""
    task = asyncio.create_task(work, name=name)

    def ended(done: asyncio.Task[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            services.broken = name
            log.critical("The background task %s has failed", name, exc_info=error)

    async def finish() -> None:
        if stop is not None:
            stop()
            await asyncio.wait([task], timeout=_STOP_SECONDS)
        task.cancel()
        await asyncio.wait([task])

    task.add_done_callback(ended)
    stack.push_async_callback(finish)
