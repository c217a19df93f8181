"""The application: one factory, one lifespan, which wires the rooms together."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator
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
from billing_api.accounts.renewal import Renewals
from billing_api.accounts.replays import Replays
from billing_api.accounts.sessions import Sessions
from billing_api.accounts.signup import Signups
from billing_api.db import housekeeping, outbox
from billing_api.db.pool import ANSWER_SECONDS, Database
from billing_api.deployments import apply
from billing_api.deployments.apply import InstanceApplier
from billing_api.http import dispatch, openapi, problems
from billing_api.http.addresses import ClientAddress
from billing_api.http.call import Services
from billing_api.http.cookies import Cookies
from billing_api.http.dispatch import Gate
from billing_api.http.docs import OpenApi
from billing_api.http.health import Probes
from billing_api.http.middleware import Observe
from billing_api.kube.client import KubeClient
from billing_api.kube.configuration import Configuration
from billing_api.kube.followers import Followers
from billing_api.kube.watch import InstanceWatch
from billing_api.licensing.commands import RENEW
from billing_api.licensing.config_map import ConfigMapPublication
from billing_api.licensing.issuing import LicenseIssuer
from billing_api.licensing.keys import KeyRing
from billing_api.licensing.publication import PUBLISH, Publication
from billing_api.metrics import Metrics
from billing_api.outbox import listener
from billing_api.outbox.worker import Handler, OutboxWorker
from billing_api.own_secrets import OwnSecrets
from billing_api.routes import ROUTES
from billing_api.settings import Settings
from billing_api.tasks import Supervisor

log = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    dsn: str,
    signing_keys: KeyRing,
    kubernetes: Configuration | None = None,
    registry: CollectorRegistry | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> Starlette:
    """Make the application; its lifespan opens and closes all that it needs.

    Args:
        settings: the settings.
        dsn: the database, with its schema up to date.
        signing_keys: sign licenses.
        kubernetes: how to reach the cluster; None lets instances wait in the outbox.
        registry: where metrics are kept; a new one by default.
        answer_seconds: how long the database may take for a transaction that somebody waits for.
    """
    metrics = Metrics(registry or CollectorRegistry())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            services = Services()
            followers = Followers(metrics, most=max(1, settings.max_connections // 2))
            for made in (settings, metrics, Supervisor(metrics), followers):
                services.add(made)
            database = Database(dsn, size=settings.database_pool_size, answer_seconds=answer_seconds)
            services.add(await stack.enter_async_context(database))
            await _add_rooms(stack, services, signing_keys, clustered=kubernetes is not None)
            await _begin_tasks(stack, services, kubernetes)
            app.state.services = services
            yield

    app = Starlette(
        routes=dispatch.routes(ROUTES),
        middleware=[
            Middleware(ClientAddress, trusted_proxies=settings.trusted_proxies),
            Middleware(Observe, metrics=metrics, tls=settings.tls),
        ],
        exception_handlers=dict(problems.HANDLERS),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def _add_rooms(stack: AsyncExitStack, services: Services, signing_keys: KeyRing, *, clustered: bool) -> None:
    """Build the services, each from the ones before it; the stack closes what must be closed."""
    settings, database = services.get(Settings), services.get(Database)
    secrets = await asyncio.to_thread(OwnSecrets.load, settings)
    add = outbox.add if clustered else None
    publication = services.add(Publication(database, signing_keys, settings=settings, add=add))
    await publication.start()
    services.add(LicenseIssuer(signing_keys, issuer=settings.license_issuer))
    services.add(Sessions(database, secret=secrets.sessions, lifetime=timedelta(minutes=settings.session_minutes)))
    _add_accounts(stack, services, secrets)
    _add_doorways(services)


def _add_accounts(stack: AsyncExitStack, services: Services, secrets: OwnSecrets) -> None:
    """Add signup and login, and what they share."""
    settings, metrics = services.get(Settings), services.get(Metrics)
    passwords = stack.enter_context(Passwords(queue=settings.password_queue))
    for lane in LANES:
        metrics.passwords_waiting.labels(lane).set_function(partial(passwords.waiting, lane))
    # Only to recognize an address again; who could undo it would have the stronger secret as well.
    pseudonyms = Pseudonyms(hmac.digest(secrets.idempotency, b"billing-api limits", hashlib.sha256))
    limits = services.add(Limits(services.get(Database), pseudonyms=pseudonyms, settings=settings, metrics=metrics))
    shared: _Shared = {"database": services.get(Database), "passwords": passwords, "limits": limits}
    logins = services.add(Logins(**shared, sessions=services.get(Sessions), metrics=metrics))
    services.add(
        Signups(
            **shared,
            issuer=services.get(LicenseIssuer),
            sessions=services.get(Sessions),
            replays=Replays(**shared, logins=logins, secret=secrets.idempotency),
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
    """Add what the route table needs. Without TLS browsers would drop a Secure cookie."""
    cookies = services.add(Cookies(secure=services.get(Settings).tls))
    services.add(Gate(authenticator=services.get(Sessions), cookies=cookies, limiter=services.get(Limits)))
    services.add(Probes(services.get(Database)))
    services.add(OpenApi(openapi.build(ROUTES, cookies=cookies)))


async def _begin_tasks(stack: AsyncExitStack, services: Services, kubernetes: Configuration | None) -> None:
    """Start what runs in the background; the outbox works without a cluster, too, at all that needs none."""
    database, tasks, settings = services.get(Database), services.get(Supervisor), services.get(Settings)
    client = None
    if kubernetes is None:
        log.warning("No Kubernetes cluster: set KUBECONFIG. Signups are taken; their instances wait in the outbox")
    else:
        client = await stack.enter_async_context(KubeClient.connect(kubernetes))
    metrics, handlers = services.get(Metrics), _handlers(services, client)
    worker = OutboxWorker(database=database, handlers=handlers, settings=settings, metrics=metrics)
    # Entered last, so that the tasks end before what they work with is closed.
    await stack.enter_async_context(tasks)
    tasks.start("housekeeping", partial(housekeeping.run, database))
    tasks.start("keys", services.get(Publication).run)
    tasks.start("outbox", worker.run, stop=worker.stop)
    tasks.start("outbox-listener", partial(listener.listen, database, worker.wake))
    if client is not None:
        followers = services.get(Followers)
        retry = partial(_retry_at_once, worker)
        watch = InstanceWatch(client, followers=followers, metrics=metrics, on_connected=retry)
        tasks.start("watch", services.add(watch).run)
        tasks.start("config-map", services.get(ConfigMapPublication).run)
    stack.callback(services.get(Followers).close)


def _handlers(services: Services, client: KubeClient | None) -> dict[str, Handler]:
    """Return who does each kind of work in the outbox; without a cluster what needs one waits."""
    database, settings = services.get(Database), services.get(Settings)
    renewals = Renewals(database=database, issuer=services.get(LicenseIssuer), order=apply.order, add=outbox.add)
    handlers: dict[str, Handler] = {RENEW: renewals.handle}
    if client is not None:
        handlers[apply.KIND] = InstanceApplier(database=database, client=client)
        handlers[PUBLISH] = services.add(ConfigMapPublication(database, client, settings=settings)).handle
    return handlers


def _retry_at_once(worker: OutboxWorker) -> None:
    """Try all that waits for the cluster, which is back."""
    for kind in (apply.KIND, PUBLISH):
        worker.retry_at_once(kind)
