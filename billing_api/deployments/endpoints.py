"""The doorways of deployments."""

from starlette.responses import Response

from billing_api.db import accounts as account_rows
from billing_api.db import outbox as outbox_rows
from billing_api.db.pool import Database
from billing_api.deployments.status import describe
from billing_api.http.access import unknown_customer
from billing_api.http.call import Call
from billing_api.kube.instances import NO_SIGHT
from billing_api.kube.watch import InstanceWatch
from billing_api.settings import Settings


async def deployment_status(call: Call) -> Response:
    """GET /api/customers/{customer_id}/deployment/status."""
    customer_id = call.path("customer_id")
    async with call.get(Database).transaction() as connection:
        name = await account_rows.find_instance_name(connection, customer_id)
        progress = await outbox_rows.progress(connection, customer_id)
    if name is None:
        raise unknown_customer()
    applied = progress.applied_resource_version if progress else None
    watch = call.services.find(InstanceWatch)
    sight = watch.look(name, applied=applied) if watch else NO_SIGHT
    return call.answer(describe(name=name, sight=sight, outbox=progress, base_domain=call.get(Settings).base_domain))
