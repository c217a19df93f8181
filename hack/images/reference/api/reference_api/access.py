"""Who is let in: whoever knows the access token, which follows from a secret of the instance.

Nothing is generated and nothing stored: the password of the API's database role is random, secret, the same for all
pods, and survives every restart. What follows from it by HMAC tells nothing about it.
"""

import hmac

from reference_api.errors import Unauthorized
from reference_api.settings import Settings

_SCHEME = "bearer"


def access_token(settings: Settings) -> str:
    """Return the token of the instance's only user."""
    return _derived(settings, "access token")


def client_id(settings: Settings) -> str:
    """Return the MQTT client id: always the same one, for the session; none that a device can guess.

    A broker ends a session when somebody else, who may log in, comes with its client id.
    """
    return f"api-{_derived(settings, 'mqtt client id')[:32]}"


def require(header: str, token: str) -> None:
    """Return when an Authorization header holds the token. Raises Unauthorized."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() != _SCHEME or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Unauthorized(
            "access-token",
            "Send the instance's access token: Authorization: Bearer <token>",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _derived(settings: Settings, purpose: str) -> str:
    return hmac.digest(settings.database_password.encode(), f"reference-api {purpose}".encode(), "sha256").hex()
