"""Everything that can go wrong, as one tree.

BillingError
├── SettingsError          environment variables with bad values; names each and the cure
├── CommandRefused         a command of the operators cannot be carried out; names the cause and the cure
├── EmbeddedDatabaseError  the built-in PostgreSQL cannot run; names the cause and the cure
├── DatabaseUnavailable    PostgreSQL does not answer; temporary
├── InstanceNameTaken      a random instance name exists already; draw another
├── ClusterUnavailable     Kubernetes does not answer or cannot serve us now; temporary
├── ClusterRejected        Kubernetes refuses this very object; permanent
├── WatchExpired           the watch fell too far behind; list again
├── Postponed              a handler of the outbox cannot do its work now; tried again
├── Refused                a handler of the outbox can never do this work; shown, and not tried again by itself
└── Problem                an answer for the caller (RFC 9457), one subclass per problem type
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


class BillingError(Exception):
    """Base of everything this package raises on purpose."""


class SettingsError(BillingError):
    """One or more environment variables cannot be used."""


class CommandRefused(BillingError):
    """A command of the operators cannot be carried out as it was given."""


class EmbeddedDatabaseError(BillingError):
    """The built-in PostgreSQL cannot run."""


class DatabaseUnavailable(BillingError):
    """PostgreSQL does not answer; the same request may work later."""


class InstanceNameTaken(BillingError):
    """The random instance name belongs to another customer."""


class ClusterUnavailable(BillingError):
    """Kubernetes does not answer, or cannot serve us at the moment."""


class ClusterRejected(BillingError):
    """Kubernetes refuses this object; sending it again would not help."""


class WatchExpired(BillingError):
    """The resource version to continue a watch from is no longer kept by the API server."""


class Postponed(BillingError):
    """What a row of the outbox asks for cannot be done now; the text is kept with the row and holds no secret."""


class Refused(BillingError):
    """What a row of the outbox asks for will never work; the text is kept with the row and holds no secret."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one part of the request.

    Attributes:
        field: a member of the JSON body, ``body``, or the name of a header.
        detail: what is wrong and what would be right, never the value itself.
    """

    field: str
    detail: str


class Problem(BillingError):
    """An answer other than success, told in the form of RFC 9457."""

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


class InvalidRequest(Problem):
    """The body or a header breaks a rule; ``errors`` lists every one."""

    status, slug, title = 400, "invalid-request", "The request is not valid"


class WrongCredentials(Problem):
    """E-mail or password is wrong; nothing tells which."""

    status, slug, title = 401, "wrong-credentials", "E-mail or password is wrong"


class Unauthenticated(Problem):
    """No session token, or one that is expired, revoked or not ours."""

    status, slug, title = 401, "unauthenticated", "A valid session is needed"


class NotFound(Problem):
    """There is no such thing, or not for this caller."""

    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    """The path exists, but not with this method."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class EmailTaken(Problem):
    """An account with this e-mail address exists."""

    status, slug, title = 409, "email-taken", "The e-mail address already has an account"


class RequestInProgress(Problem):
    """Another request with the same Idempotency-Key is still at work."""

    status, slug, title = 409, "request-in-progress", "The same request is still being processed"


class BodyTooLarge(Problem):
    """The request body is over the limit."""

    status, slug, title = 413, "body-too-large", "The request body is too large"


class UnsupportedMediaType(Problem):
    """The body is not declared as JSON."""

    status, slug, title = 415, "unsupported-media-type", "The body must be JSON"


class KeyReused(Problem):
    """The Idempotency-Key was used before, for another request."""

    status, slug, title = 422, "idempotency-key-reused", "The Idempotency-Key belongs to another request"


class TooManyAttempts(Problem):
    """Too many tries to log in; ``Retry-After`` says when to come back."""

    status, slug, title = 429, "too-many-attempts", "Too many attempts"


class InternalError(Problem):
    """A defect in this program; the log has the details under the ``instance``."""

    status, slug, title = 500, "internal-error", "Something went wrong on our side"


class ServiceUnavailable(Problem):
    """The database does not answer; nothing was changed, or the Idempotency-Key makes a retry safe."""

    status, slug, title = 503, "service-unavailable", "The service is not available at the moment"


PROBLEMS: tuple[type[Problem], ...] = tuple(Problem.__subclasses__())
