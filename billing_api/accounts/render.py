"""From what is stored to what is answered."""

import json
import math
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from billing_api.accounts.sessions import Session
from billing_api.db.accounts import Account
from billing_api.deployments import status as deployments
from billing_api.http import answers
from billing_api.licensing.licenses import ENTITLEMENTS
from billing_api.settings import Settings


def response(body: answers.Answer, *, status: int = 200) -> Response:
    """Return an answer as JSON that no cache may keep; times are UTC, in whole seconds."""
    content = json.dumps(asdict(body), default=_json_time, ensure_ascii=False)
    return Response(content, status_code=status, media_type="application/json", headers={"Cache-Control": "no-store"})


def signup(account: Account, session: Session, *, settings: Settings) -> answers.SignupAnswer:
    """Return the answer to a signup; the same again when it is asked for with the same Idempotency-Key."""
    customer, license = account.customer, account.license
    trial_ends_at = account.subscription.trial_ends_at or license.expires_at
    days = math.ceil((trial_ends_at - customer.created_at) / timedelta(days=1))
    return answers.SignupAnswer(
        message=f"Account created successfully! Your {days}-day trial has started.",
        customer=answers.CustomerAnswer(
            customer_id=customer.customer_id, email=customer.email, company_name=customer.company_name
        ),
        subscription=answers.SubscriptionAnswer(
            plan=account.subscription.plan,
            status=account.subscription.status,
            trial_ends_at=trial_ends_at,
            trial_days_remaining=days,
        ),
        license=answers.LicenseAnswer(
            jwt=license.jwt, expires_at=license.expires_at, features=dict(ENTITLEMENTS[license.plan].features)
        ),
        deployment=answers.QueuedDeploymentAnswer(
            status="queued",
            # The first generation of a resource is 1 (Kubernetes API conventions).
            job_id=deployments.job_id(customer.instance_name, 1),
            instance_url=deployments.instance_url(customer.instance_name, base_domain=settings.base_domain),
            estimated_time="2-5 minutes",
            check_status_url=f"/api/customers/{customer.customer_id}/deployment/status",
        ),
        session=_session(session),
    )


def login(account: Account, session: Session) -> answers.LoginAnswer:
    """Return the answer to a login."""
    return answers.LoginAnswer(
        customer_id=account.customer.customer_id,
        email=account.customer.email,
        license=account.license.jwt,
        session=_session(session),
    )


def _session(session: Session) -> answers.SessionAnswer:
    return answers.SessionAnswer(token=session.token, expires_at=session.expires_at)


def _json_time(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raise TypeError(f"{type(value).__name__} has no JSON form")
