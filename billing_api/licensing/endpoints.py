"""The doorways of licensing."""

from starlette.responses import Response

from billing_api.http.call import Call
from billing_api.licensing.models import JwksAnswer
from billing_api.licensing.publication import Publication


async def jwks(call: Call) -> Response:
    """GET /.well-known/jwks.json: what was published last, whether or not the database answers."""
    published = call.get(Publication)
    headers = {"Cache-Control": f"public, max-age={published.cache_seconds}"}
    return call.answer(JwksAnswer(keys=list(published.jwks)), headers)
