"""Everything that can go wrong, as one tree.

BillingError
├── SettingsError          environment variables with bad values; names each and the cure
├── CommandRefused         a command of the operators cannot be carried out; names the cause and the cure
├── EmbeddedDatabaseError  the built-in PostgreSQL cannot run; names the cause and the cure
├── DatabaseUnavailable    PostgreSQL does not answer; temporary
├── SchemaError            the database's schema is newer than this program, or may not be changed; names the cure
├── InstanceNameTaken      a random instance name exists already; draw another
├── ClusterUnavailable     Kubernetes does not answer or cannot serve us now; temporary
├── ClusterRejected        Kubernetes refuses this very object; permanent
├── WatchExpired           the watch fell too far behind; list again
├── InstanceUnreadable     an instance is not as the contract says; it is skipped
├── Postponed              a handler of the outbox cannot do its work now; tried again
├── Refused                a handler of the outbox can never do this work; shown, and not tried again by itself
└── Problem                an answer for the caller (RFC 9457), one subclass per problem type
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar


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


class DatabaseReadOnly(DatabaseUnavailable):
    """PostgreSQL answers, but takes no writes, as a standby does."""


class SchemaError(BillingError):
    """The database's schema does not fit this program, and cannot be made to."""


class InstanceNameTaken(BillingError):
    """The random instance name belongs to another customer."""


class ClusterUnavailable(BillingError):
    """Kubernetes does not answer, or cannot serve us at the moment."""


class ClusterRejected(BillingError):
    """Kubernetes refuses this object; sending it again would not help."""


class WatchExpired(BillingError):
    """The resource version to continue a watch from is no longer kept by the API server."""


class InstanceUnreadable(BillingError):
    """A CustomerInstance is not as the contract says; the message has no values of it."""


class Postponed(BillingError):
    """What a row of the outbox asks for cannot be done now; the text is kept with the row and holds no secret."""


class Refused(BillingError):
    """What a row of the outbox asks for will never work; the text is kept with the row and holds no secret."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one part of the request.

    Attributes:
        field: a member of the JSON body, ``body``, the name of a header, or ``client``: whoever sends the request.
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


class CsrfTokenMissing(Problem):
    """A browser's session wants to change something without the token that a foreign page cannot know."""

    status, slug, title = 403, "csrf-token-missing", "The CSRF token is missing or wrong"


class Forbidden(Problem):
    """The caller is known, and may not do this."""

    status, slug, title = 403, "forbidden", "This needs more rights"


class NotFound(Problem):
    """There is no such thing, or not for this caller."""

    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowed(Problem):
    """The path exists, but not with this method."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class RequestTimeout(Problem):
    """The client has taken too long to send its headers or its body."""

    status, slug, title = 408, "request-timeout", "The request did not arrive in time"


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
    """The body is not declared as what is read here, which is JSON nearly everywhere."""

    status, slug, title = 415, "unsupported-media-type", "The body must be JSON"


class KeyReused(Problem):
    """The Idempotency-Key was used before, for another request."""

    status, slug, title = 422, "idempotency-key-reused", "The Idempotency-Key belongs to another request"


class TooManyAttempts(Problem):
    """Too many calls of this kind; ``Retry-After`` says when to come back."""

    status, slug, title = 429, "too-many-attempts", "Too many attempts"


class TooManyStacks(Problem):
    """Too many trials of unverified e-mail addresses come from there; ``Retry-After`` says when one of them ends."""

    status, slug, title = 429, "too-many-stacks", "Too many trials without a verified e-mail address"


class TooManyStreams(Problem):
    """The customer follows the deployment in too many places at once, or too many do in one network."""

    status, slug, title = 429, "too-many-streams", "Too many event streams"


class HeadersTooLarge(Problem):
    """The request line and headers are over the limit."""

    status, slug, title = 431, "headers-too-large", "The request headers are too large"


class InternalError(Problem):
    """A defect in this program; the log has the details under the ``instance``."""

    status, slug, title = 500, "internal-error", "Something went wrong on our side"


class ServiceUnavailable(Problem):
    """The database does not answer, or too much is to do; nothing was changed, or the Idempotency-Key makes a retry
    safe.
    """

    status, slug, title = 503, "service-unavailable", "The service is not available at the moment"


KindOfProblem = TypeVar("KindOfProblem", bound=Problem)


def of_field(
    kind: type[KindOfProblem],
    field: str,
    why: str,
    *,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> KindOfProblem:
    """Return a problem with one part of the request.

    Args:
        kind: the problem type.
        field: see FieldError.
        why: what is wrong with the field.
        detail: the problem as a whole; the same when it says no more.
        headers: of the answer.
    """
    return kind(detail or why, errors=[FieldError(field, why)], headers=headers)


PROBLEMS: tuple[type[Problem], ...] = tuple(Problem.__subclasses__())
