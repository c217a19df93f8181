"""A signup as a browser would send it."""

import secrets
import time
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from hack.demo.errors import DemoError

EMAIL = "ada@acme.example"
COMPANY = "Acme Corp"
# Hashing the password takes most of it, a tenth of a second; the machine may be busy.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Signup:
    """The answer to a signup: the account, its instance, and how long (seconds) the answer took."""

    customer_id: str
    instance: str
    status_path: str
    password: str = field(repr=False)
    started: float
    seconds: float


def sign_up(billing_url: str, *, email: str = EMAIL) -> Signup:
    """Create an account; raises DemoError when the billing API refuses or does not answer."""
    password = secrets.token_urlsafe(12)
    body = {"email": email, "password": password, "company_name": COMPANY}
    started = time.monotonic()
    try:
        answer = httpx.post(
            f"{billing_url}/api/customers/signup",
            json=body,
            headers={"Idempotency-Key": str(uuid4())},
            timeout=TIMEOUT,
            trust_env=False,
        )
    except httpx.TransportError as error:
        raise DemoError(f"the billing API does not answer the signup ({type(error).__name__})") from error
    seconds = time.monotonic() - started
    if answer.status_code != httpx.codes.CREATED:
        raise DemoError(f"the billing API refuses the signup: {answer.status_code} {answer.text}")
    content = answer.json()
    return Signup(
        customer_id=content["customer"]["customer_id"],
        # A job is called NAME-gGENERATION.
        instance=content["deployment"]["job_id"].rpartition("-g")[0],
        status_path=content["deployment"]["check_status_url"],
        password=password,
        started=started,
        seconds=seconds,
    )
