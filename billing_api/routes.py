"""The whole API: one row for each method of each path, and nothing else."""

from billing_api.accounts import endpoints as accounts
from billing_api.accounts.limits import LOGIN_LIMITS, SIGNUP_LIMITS
from billing_api.accounts.models import LoginAnswer, LoginRequest, SignupAnswer, SignupRequest
from billing_api.deployments import endpoints as deployments
from billing_api.deployments.models import DeploymentAnswer
from billing_api.errors import (
    EmailTaken,
    KeyReused,
    RequestInProgress,
    ServiceUnavailable,
    TooManyStacks,
    TooManyStreams,
    WrongCredentials,
)
from billing_api.http import docs, health
from billing_api.http.health import LiveAnswer, ReadyAnswer
from billing_api.http.route import Access, Document, EventStream, Html, Route, Text
from billing_api.licensing import endpoints as licensing
from billing_api.licensing.models import JwksAnswer

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/customers/signup",
        handler=accounts.signup,
        access=Access.PUBLIC,
        summary="Create an account with a trial",
        description="Creates the account, its trial subscription and its license, and has the customer's own stack "
        "deployed. Answers at once; follow the deployment at `deployment.check_status_url`.",
        body=SignupRequest,
        answer=SignupAnswer,
        status=201,
        headers=("Location", "Idempotency-Replayed", "Set-Cookie"),
        problems=(EmailTaken, RequestInProgress, KeyReused, TooManyStacks, ServiceUnavailable),
        limits=SIGNUP_LIMITS,
        idempotent=True,
    ),
    Route(
        method="POST",
        path="/api/customers/login",
        handler=accounts.login,
        access=Access.PUBLIC,
        summary="Begin a session",
        description="The answer is the same, and takes as long, for a wrong password and for an unknown account.",
        body=LoginRequest,
        answer=LoginAnswer,
        headers=("Set-Cookie",),
        problems=(WrongCredentials, ServiceUnavailable),
        limits=LOGIN_LIMITS,
    ),
    Route(
        method="POST",
        path="/api/customers/logout",
        handler=accounts.logout,
        access=Access.CUSTOMER,
        summary="End the session",
        description="The token is worth nothing from now on, but to end the session again, which is no error.",
        answer=None,
        status=204,
        headers=("Set-Cookie",),
        revoked_sessions=True,
    ),
    Route(
        method="GET",
        path="/api/customers/{customer_id}/deployment/status",
        handler=deployments.deployment_status,
        access=Access.OWNER,
        summary="How far the deployment is",
        description="Read from the customer's CustomerInstance. There is no Helm release any more, so the older "
        "documents' `helm` is gone, and their `pods` are now `components`. Somebody else's customer is not found.",
        answer=DeploymentAnswer,
    ),
    Route(
        method="GET",
        path="/api/customers/{customer_id}/deployment/events",
        handler=deployments.deployment_events,
        access=Access.OWNER,
        summary="How far the deployment is, as it changes",
        description="Server-sent events: the deployment status at once, and again whenever it has become another. The "
        "stream stays open until the client, the session or the process ends; a customer may have 8 of them, "
        "and a network a tenth of all.",
        answer=EventStream(of=DeploymentAnswer),
        problems=(TooManyStreams,),
    ),
    Route(
        method="GET",
        path="/health/live",
        handler=health.live,
        access=Access.PUBLIC,
        summary="Whether the process works",
        description="503 when a background task has died: the process must be restarted.",
        answer=LiveAnswer,
        problems=(ServiceUnavailable,),
    ),
    Route(
        method="GET",
        path="/health/ready",
        handler=health.ready,
        access=Access.PUBLIC,
        summary="Whether requests can be served",
        description="They can while the database takes writes; Kubernetes may be away. What the outbox was refused is "
        "counted, and does not matter here.",
        answer=ReadyAnswer,
        problems=(ServiceUnavailable,),
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=health.metrics,
        access=Access.PUBLIC,
        summary="Metrics for Prometheus",
        answer=Text(media_type=health.METRICS_MEDIA_TYPE),
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=docs.openapi,
        access=Access.PUBLIC,
        summary="This document",
        answer=Document(),
    ),
    Route(
        method="GET",
        path="/docs",
        handler=docs.page,
        access=Access.PUBLIC,
        summary="This document, for people",
        answer=Html(),
        headers=("Content-Security-Policy",),
    ),
    Route(
        method="GET",
        path="/.well-known/jwks.json",
        handler=licensing.jwks,
        access=Access.PUBLIC,
        summary="Public keys of the licenses",
        description="The same as the file jwks.json in DATA_DIR, which the operator mounts.",
        answer=JwksAnswer,
        problems=(ServiceUnavailable,),
    ),
)
