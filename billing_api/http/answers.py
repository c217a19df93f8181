"""The bodies of all answers. OpenAPI is made from these classes, so document and answer cannot differ.

Names follow the requirement documents, camelCase where those have it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Protocol


class Answer(Protocol):
    """Any of the classes below."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Doc:
    """How OpenAPI describes a member. Compared by identity: an example may be a dict, and annotations are hashed."""

    description: str
    example: Any = None


_ID = "cust-b4c867f44a92453aba8a2fe3fe5d6e5e"


@dataclass(frozen=True, kw_only=True)
class SessionAnswer:
    """Proof of who is asking; also set as the HttpOnly cookie ``billing_session``."""

    token: Annotated[str, Doc("Send it as Authorization: Bearer.", "eyJhbGc...")]
    expires_at: Annotated[datetime, Doc("When to log in again.", "2025-10-22T11:30:00Z")]


@dataclass(frozen=True, kw_only=True)
class CustomerAnswer:
    """The new account."""

    customer_id: Annotated[str, Doc("The customer's identifier everywhere.", _ID)]
    email: Annotated[str, Doc("As given, in normal form.", "john@example.com")]
    company_name: Annotated[str, Doc("As given.", "Acme Corp")]


@dataclass(frozen=True, kw_only=True)
class SubscriptionAnswer:
    """What the customer has subscribed to."""

    plan: Annotated[Literal["starter", "professional", "enterprise"], Doc("A trial is one of starter.", "starter")]
    status: Annotated[str, Doc("As Stripe calls it.", "trialing")]
    trial_ends_at: Annotated[datetime, Doc("End of the trial.", "2025-11-05T00:00:00Z")]
    trial_days_remaining: Annotated[int, Doc("Days until then, a begun day counting as whole.", 14)]


@dataclass(frozen=True, kw_only=True)
class LicenseAnswer:
    """The license that the customer's instance runs under."""

    jwt: Annotated[str, Doc("RS256 JWT; its key is in /.well-known/jwks.json.", "eyJhbGc...")]
    expires_at: Annotated[datetime, Doc("When it expires.", "2025-11-05T00:00:00Z")]
    features: Annotated[
        dict[str, int | bool],
        Doc("What is included; -1 means without limit.", {"maxDevices": 10, "dataRetentionDays": 90, "alerting": True}),
    ]


@dataclass(frozen=True, kw_only=True)
class QueuedDeploymentAnswer:
    """The deployment that the signup has started."""

    status: Annotated[Literal["queued"], Doc("Always queued: the answer does not wait.", "queued")]
    job_id: Annotated[str, Doc("Name and generation of the CustomerInstance.", "cb4c867f44a92-g1")]
    instance_url: Annotated[
        str | None,
        Doc(
            "Where the instance will answer. null while BASE_DOMAIN is localhost: its port is known once deployed, "
            "and is then in the deployment status.",
            "https://cb4c867f44a92.iotistic.cloud",
        ),
    ]
    estimated_time: Annotated[str, Doc("For a person.", "2-5 minutes")]
    check_status_url: Annotated[str, Doc("Ask here how far it is.", f"/api/customers/{_ID}/deployment/status")]


@dataclass(frozen=True, kw_only=True)
class SignupAnswer:
    """A new account with everything that belongs to it."""

    message: Annotated[str, Doc("For a person.", "Account created successfully! Your 14-day trial has started.")]
    customer: CustomerAnswer
    subscription: SubscriptionAnswer
    license: LicenseAnswer
    deployment: QueuedDeploymentAnswer
    session: SessionAnswer


@dataclass(frozen=True, kw_only=True)
class LoginAnswer:
    """Who logged in."""

    customer_id: Annotated[str, Doc("The customer's identifier everywhere.", _ID)]
    email: Annotated[str, Doc("The account's address.", "john@example.com")]
    license: Annotated[str, Doc("The newest license, an RS256 JWT.", "eyJhbGc...")]
    session: SessionAnswer


KubernetesState = Literal["connected", "disconnected", "not configured"]
DeploymentStatus = Literal["pending", "deploying", "deployed", "failed", "deleted"]
JobState = Literal["waiting", "active", "delayed", "completed", "failed"]


@dataclass(frozen=True, kw_only=True)
class DeployedCustomerAnswer:
    """The deployment in a word."""

    deploymentStatus: Annotated[DeploymentStatus, Doc("Where it stands.", "deployed")]  # noqa: N815
    instanceUrl: Annotated[str | None, Doc("The dashboard; null until known.", "https://cb4c867f44a92.iotistic.cloud")]  # noqa: N815
    deployedAt: Annotated[datetime | None, Doc("When it was first ready.", "2025-10-22T10:30:00Z")]  # noqa: N815
    deploymentError: Annotated[str | None, Doc("Why it failed; else null.", None)]  # noqa: N815


@dataclass(frozen=True, kw_only=True)
class JobAnswer:
    """The work on the instance: one job for each generation of its CustomerInstance."""

    id: Annotated[str, Doc("Name and generation.", "cb4c867f44a92-g1")]
    state: Annotated[JobState, Doc("waiting: not yet seen by the operator; delayed: see nextAttemptAt.", "active")]
    progress: Annotated[int, Doc("Per cent.", 65)]
    attempts: Annotated[int, Doc("Failed tries in a row.", 0)]
    nextAttemptAt: Annotated[datetime | None, Doc("When it is tried again.", None)]  # noqa: N815
    estimatedReadyAt: Annotated[datetime | None, Doc("When it should be ready.", "2025-10-22T10:30:00Z")]  # noqa: N815


@dataclass(frozen=True, kw_only=True)
class StageAnswer:
    """One step of the work."""

    name: Annotated[str, Doc("Name of the step.", "Database")]
    state: Annotated[Literal["Pending", "Active", "Done", "Failed"], Doc("How far it is.", "Done")]
    startedAt: Annotated[datetime | None, Doc("When it began.", "2025-10-22T10:28:00Z")]  # noqa: N815
    finishedAt: Annotated[datetime | None, Doc("When it was done.", "2025-10-22T10:28:40Z")]  # noqa: N815
    message: Annotated[str | None, Doc("What it waits for, or why it failed.", None)]


@dataclass(frozen=True, kw_only=True)
class ComponentAnswer:
    """One part of the instance; stands for the ``pods`` of the older documents."""

    name: Annotated[str, Doc("Name of the part.", "Database")]
    ready: Annotated[bool, Doc("Whether it works.", True)]
    status: Annotated[str, Doc("One word for programs.", "Available")]
    message: Annotated[str, Doc("A sentence for people.", "")]


@dataclass(frozen=True, kw_only=True)
class DeploymentAnswer:
    """How far a customer's instance is."""

    customer: DeployedCustomerAnswer
    job: JobAnswer
    phase: Annotated[str | None, Doc("The operator's word for it; null until it has one.", "Provisioning")]
    message: Annotated[str, Doc("One sentence for a person.", "Waiting for the database")]
    namespace: Annotated[str, Doc("Where it runs.", "customer-cb4c867f44a92")]
    urls: Annotated[
        dict[str, str],
        Doc(
            "Where it answers, as far as known: dashboard, api, mqtt.",
            {"dashboard": "https://cb4c867f44a92.iotistic.cloud"},
        ),
    ]
    stages: list[StageAnswer]
    components: list[ComponentAnswer]


@dataclass(frozen=True, kw_only=True)
class LiveAnswer:
    """The process works."""

    status: Annotated[Literal["alive"], Doc("Always alive; otherwise there is no such answer.", "alive")]


@dataclass(frozen=True, kw_only=True)
class ReadyAnswer:
    """The process can serve requests."""

    status: Annotated[Literal["ready"], Doc("Always ready; otherwise the answer is 503.", "ready")]
    database: Annotated[Literal["connected"], Doc("Always connected.", "connected")]
    kubernetes: Annotated[KubernetesState, Doc("Signups work without; their instances wait.", "connected")]


@dataclass(frozen=True, kw_only=True)
class JwksAnswer:
    """A JSON Web Key Set (RFC 7517)."""

    keys: Annotated[
        list[dict[str, str]],
        Doc(
            "The public keys that licenses are signed with.",
            [{"kty": "RSA", "kid": "...", "use": "sig", "alg": "RS256"}],
        ),
    ]
