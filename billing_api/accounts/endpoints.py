"""The doorways of accounts: signup, login, logout."""

import math
from datetime import timedelta

from starlette.responses import Response

from billing_api.accounts.login import Logins
from billing_api.accounts.models import (
    CustomerAnswer,
    LicenseAnswer,
    LoginAnswer,
    LoginRequest,
    QueuedDeploymentAnswer,
    SessionAnswer,
    SignupAnswer,
    SignupRequest,
    SubscriptionAnswer,
)
from billing_api.accounts.sessions import Session, Sessions
from billing_api.accounts.signup import Signups
from billing_api.db.accounts import Account, Customer
from billing_api.deployments.status import instance_url, job_id
from billing_api.http.call import Call
from billing_api.http.cookies import Cookies
from billing_api.licensing.licenses import ENTITLEMENTS
from billing_api.settings import Settings


async def signup(call: Call) -> Response:
    """POST /api/customers/signup."""
    wanted: SignupRequest = call.body
    outcome = await call.get(Signups).sign_up(wanted, key=call.idempotency_key, client=call.client)
    body = signup_answer(outcome.account, outcome.session, base_domain=call.get(Settings).base_domain)
    headers = {"Location": body.deployment.check_status_url}
    if outcome.replayed:
        headers["Idempotency-Replayed"] = "true"
    return _begin(call, call.answer(body, headers), outcome.session)


async def login(call: Call) -> Response:
    """POST /api/customers/login."""
    wanted: LoginRequest = call.body
    outcome = await call.get(Logins).log_in(wanted, client=call.client)
    body = LoginAnswer(
        customer_id=outcome.account.customer.customer_id,
        email=outcome.account.customer.email,
        license=outcome.account.license.jwt,
        session=_session(outcome.session),
    )
    return _begin(call, call.answer(body), outcome.session)


async def logout(call: Call) -> Response:
    """POST /api/customers/logout."""
    await call.get(Sessions).end(call.session.session_id)
    response = call.empty()
    call.get(Cookies).end(response)
    return response


def signup_answer(account: Account, session: Session, *, base_domain: str) -> SignupAnswer:
    """Return the answer to a signup; the same again when it is asked for with the same Idempotency-Key."""
    customer, license = account.customer, account.license
    trial_ends_at = account.subscription.trial_ends_at or license.expires_at
    days = math.ceil((trial_ends_at - customer.created_at) / timedelta(days=1))
    return SignupAnswer(
        message=f"Account created successfully! Your {days}-day trial has started.",
        customer=CustomerAnswer(
            customer_id=customer.customer_id, email=customer.email, company_name=customer.company_name
        ),
        subscription=SubscriptionAnswer(
            plan=account.subscription.plan,
            status=account.subscription.status,
            trial_ends_at=trial_ends_at,
            trial_days_remaining=days,
        ),
        license=LicenseAnswer(
            jwt=license.jwt, expires_at=license.expires_at, features=dict(ENTITLEMENTS[license.plan].features)
        ),
        deployment=_queued(customer, base_domain=base_domain),
        session=_session(session),
    )


def _queued(customer: Customer, *, base_domain: str) -> QueuedDeploymentAnswer:
    return QueuedDeploymentAnswer(
        status="queued",
        # The first generation of a resource is 1 (Kubernetes API conventions).
        job_id=job_id(customer.instance_name, 1),
        instance_url=instance_url(customer.instance_name, base_domain=base_domain),
        estimated_time="2-5 minutes",
        check_status_url=f"/api/customers/{customer.customer_id}/deployment/status",
    )


def _session(session: Session) -> SessionAnswer:
    return SessionAnswer(token=session.token, expires_at=session.expires_at)


def _begin(call: Call, response: Response, session: Session) -> Response:
    """Have the browser keep the session."""
    call.get(Cookies).begin(response, token=session.token, csrf_token=session.csrf_token, expires_at=session.expires_at)
    return response
