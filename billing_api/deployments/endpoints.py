"""The doorways of deployments."""

from functools import partial

from starlette.responses import Response

from billing_api.db import accounts as account_rows
from billing_api.db.outbox import Progress
from billing_api.db.pool import Database
from billing_api.deployments import apply
from billing_api.deployments.status import describe
from billing_api.deployments.stream import DeploymentEvents
from billing_api.http.access import admit, unknown_customer
from billing_api.http.call import Call
from billing_api.http.dispatch import Gate
from billing_api.http.places import place_of
from billing_api.kube.followers import Followers
from billing_api.kube.instances import NO_SIGHT, Sight
from billing_api.kube.watch import InstanceWatch
from billing_api.settings import Settings


async def deployment_status(call: Call) -> Response:
    """GET /api/customers/{customer_id}/deployment/status."""
    name, progress = await _look_up(call)
    sight = _look(call, name, progress.applied_resource_version if progress else None)
    return call.answer(describe(name=name, sight=sight, outbox=progress, base_domain=call.get(Settings).base_domain))


async def deployment_events(call: Call) -> Response:
    """GET /api/customers/{customer_id}/deployment/events."""
    name, _ = await _look_up(call)
    events = DeploymentEvents(
        name=name,
        base_domain=call.get(Settings).base_domain,
        follower=call.get(Followers).open(call.path("customer_id"), network=place_of(call.client).network),
        read=partial(_read_again, call),
        look=partial(_look, call, name),
    )
    return call.events(events)


async def _read_again(call: Call) -> Progress | None:
    """Look into the database for a stream, whose caller may have logged out in the meantime."""
    gate = call.get(Gate)
    await admit(call.request, call.route, authenticator=gate.authenticator, cookies=gate.cookies)
    return (await _look_up(call))[1]


async def _look_up(call: Call) -> tuple[str, Progress | None]:
    customer_id = call.path("customer_id")
    async with call.get(Database).transaction() as connection:
        name = await account_rows.find_instance_name(connection, customer_id)
        progress = await apply.progress(connection, customer_id)
    if name is None:
        raise unknown_customer()
    return name, progress


def _look(call: Call, name: str, applied: int | None) -> Sight:
    watch = call.services.find(InstanceWatch)
    return watch.look(name, customer_id=call.path("customer_id"), applied=applied) if watch else NO_SIGHT
