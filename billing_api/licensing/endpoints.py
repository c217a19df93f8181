"""The doorways of licensing."""

from starlette.responses import Response

from billing_api.db import signing_keys
from billing_api.db.pool import Database
from billing_api.http.call import Call
from billing_api.licensing.models import JwksAnswer


async def jwks(call: Call) -> Response:
    """GET /.well-known/jwks.json."""
    async with call.get(Database).transaction() as connection:
        keys = await signing_keys.trusted(connection)
    return call.answer(JwksAnswer(keys=keys), {"Cache-Control": "public, max-age=300"})
