"""The application: one factory, one lifespan, which wires the rooms together."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypedDict

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware

from billing_api.accounts.limits import Limits
from billing_api.accounts.login import Logins
from billing_api.accounts.origins import Pseudonyms
from billing_api.accounts.passwords import LANES, Passwords
from billing_api.accounts.replays import Replays
from billing_api.accounts.sessions import Sessions
from billing_api.accounts.signup import Signups
from billing_api.db import housekeeping, signing_keys
from billing_api.db.pool import Database
from billing_api.http import dispatch, openapi, problems
from billing_api.http.call import Services
from billing_api.http.cookies import Cookies
from billing_api.http.dispatch import Gate
from billing_api.http.docs import OpenApi
from billing_api.http.health import Health
from billing_api.http.middleware import Observe
from billing_api.kube.client import Cluster, Configuration
from billing_api.kube.watch import InstanceWatch
from billing_api.licensing.keys import SigningKey, write_jwks
from billing_api.licensing.licenses import LicenseSigner
from billing_api.metrics import Metrics
from billing_api.outbox.worker import OutboxWorker
from billing_api.routes import ROUTES
from billing_api.settings import Settings

log = logging.getLogger(__name__)


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
        routes=dispatch.routes(ROUTES),
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
    services = Services()
    for made in (settings, metrics, Health()):
        services.add(made)
    database = services.add(await stack.enter_async_context(Database(dsn, size=settings.database_pool_size)))
    await _publish_keys(database, signing_key, settings)
    secret = settings.session_secret.encode() or signing_key.derive("billing-api sessions")
    services.add(Sessions(database, secret=secret, lifetime=timedelta(minutes=settings.session_minutes)))
    _add_accounts(stack, services, signing_key)
    _add_doorways(services)
    _background(stack, services, "housekeeping", housekeeping.run(database))
    return services


def _add_accounts(stack: AsyncExitStack, services: Services, signing_key: SigningKey) -> None:
    """Add signup and login, and what they share."""
    settings, metrics = services.get(Settings), services.get(Metrics)
    passwords = stack.enter_context(Passwords(queue=settings.password_queue))
    for lane in LANES:
        metrics.passwords_waiting.labels(lane).set_function(partial(passwords.waiting, lane))
    pseudonyms = Pseudonyms(signing_key.derive("billing-api limits"))
    limits = services.add(Limits(services.get(Database), pseudonyms=pseudonyms, settings=settings, metrics=metrics))
    shared: _Shared = {
        "database": services.get(Database),
        "passwords": passwords,
        "limits": limits,
    }
    logins = services.add(Logins(**shared, sessions=services.get(Sessions), metrics=metrics))
    replays = Replays(**shared, logins=logins, secret=signing_key.derive("billing-api idempotency"))
    services.add(
        Signups(
            **shared,
            signer=LicenseSigner(signing_key, issuer=settings.license_issuer),
            sessions=services.get(Sessions),
            replays=replays,
            pseudonyms=pseudonyms,
            settings=settings,
            metrics=metrics,
        )
    )


class _Shared(TypedDict):
    """What signup, login and replays have in common."""

    database: Database
    passwords: Passwords
    limits: Limits


def _add_doorways(services: Services) -> None:
    """Add what the route table needs. On localhost there is no TLS, and browsers would drop a Secure cookie."""
    cookies = services.add(Cookies(secure=services.get(Settings).base_domain != "localhost"))
    services.add(Gate(authenticator=services.get(Sessions), cookies=cookies, limiter=services.get(Limits)))
    services.add(OpenApi(openapi.build(ROUTES, cookies=cookies)))


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
    worker = OutboxWorker(
        database=services.get(Database),
        cluster=api,
        settings=services.get(Settings),
        metrics=services.get(Metrics),
    )
    watch = services.add(InstanceWatch(api, on_connected=worker.cluster_is_back))
    _background(stack, services, "watch", watch.run())
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
            services.get(Health).broken = name
            log.critical("The background task %s has failed", name, exc_info=error)

    async def finish() -> None:
        if stop is not None:
            stop()
            await asyncio.wait([task], timeout=_STOP_SECONDS)
        task.cancel()
        await asyncio.wait([task])

    task.add_done_callback(ended)
    stack.push_async_callback(finish)
