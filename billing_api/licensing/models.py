"""What is told of the keys."""

from pydantic import Field

from billing_api.http.models import Answer


class JwksAnswer(Answer):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[dict[str, str]] = Field(
        description="The public keys that licenses are signed with.",
        examples=[[{"kty": "RSA", "kid": "...", "use": "sig", "alg": "RS256"}]],
    )
