"""What a signup and a login take and answer. Names follow the requirement documents."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from billing_api.accounts import names
from billing_api.accounts.passwords import MAX_BYTES
from billing_api.http.models import Answer, RequestModel, Timestamp

_ID: Final = "cust-b4c867f44a92453aba8a2fe3fe5d6e5e"


Email = Annotated[
    str,
    Field(examples=["john@example.com"], json_schema_extra={"format": "email", "maxLength": names.MAX_EMAIL}),
    AfterValidator(names.email),
]
Name = Annotated[
    str, Field(json_schema_extra={"minLength": 1, "maxLength": names.MAX_NAME}), AfterValidator(names.name)
]
#: Any that could be tried; one that no account can have is not invalid at a login, only wrong.
Password = Annotated[
    str,
    Field(repr=False, examples=["SecurePass123"], json_schema_extra={"format": "password", "minLength": 1}),
    AfterValidator(names.password),
]
NewPassword = Annotated[
    str,
    Field(
        repr=False,
        examples=["SecurePass123"],
        description=f"{names.MIN_PASSWORD} characters to {MAX_BYTES} bytes in UTF-8.",
        json_schema_extra={"format": "password", "minLength": names.MIN_PASSWORD, "maxLength": MAX_BYTES},
    ),
    AfterValidator(names.new_password),
]


class SignupRequest(RequestModel):
    """A new account."""

    email: Email = Field(description="Unique regardless of case. The address to log in with.")
    password: NewPassword
    company_name: Name = Field(description="As the dashboard shows it.", examples=["Acme Corp"])
    full_name: Name | None = Field(None, description="Whom to address; may be left out.", examples=["John Doe"])

    @property
    def email_key(self) -> str:
        """The address in the form in which it is unique."""
        return names.email_key(self.email)


class LoginRequest(RequestModel):
    """An account and its password."""

    email: Email = Field(description="The address signed up with.")
    password: Password

    @property
    def email_key(self) -> str:
        """The address in the form in which it is unique."""
        return names.email_key(self.email)

    @property
    def account(self) -> str:
        """The account that is tried, whether or not there is one."""
        return self.email_key


class SessionAnswer(Answer):
    """Proof of who is asking; also set as an HttpOnly cookie."""

    token: str = Field(description="Send it as Authorization: Bearer.", examples=["eyJhbGc..."], repr=False)
    expires_at: Timestamp = Field(description="When to log in again.", examples=["2025-10-22T11:30:00Z"])


class CustomerAnswer(Answer):
    """The new account."""

    customer_id: str = Field(description="The customer's identifier everywhere.", examples=[_ID])
    email: str = Field(description="As given, in normal form.", examples=["john@example.com"])
    company_name: str = Field(description="As given.", examples=["Acme Corp"])


class SubscriptionAnswer(Answer):
    """What the customer has subscribed to."""

    plan: Literal["starter", "professional", "enterprise"] = Field(
        description="A trial is one of starter.", examples=["starter"]
    )
    status: str = Field(description="As Stripe calls it.", examples=["trialing"])
    trial_ends_at: Timestamp = Field(description="End of the trial.", examples=["2025-11-05T00:00:00Z"])
    trial_days_remaining: int = Field(description="Days until then, a begun day counting as whole.", examples=[14])


class LicenseAnswer(Answer):
    """The license that the customer's instance runs under."""

    jwt: str = Field(
        description="RS256 JWT; its key is in /.well-known/jwks.json.", examples=["eyJhbGc..."], repr=False
    )
    expires_at: Timestamp = Field(description="When it expires.", examples=["2025-11-05T00:00:00Z"])
    features: dict[str, int | bool] = Field(
        description="What is included; -1 means without limit.",
        examples=[{"maxDevices": 10, "dataRetentionDays": 90, "alerting": True}],
    )


class QueuedDeploymentAnswer(Answer):
    """The deployment that the signup has started."""

    status: Literal["queued"] = Field(description="Always queued: the answer does not wait.", examples=["queued"])
    job_id: str = Field(description="Name and generation of the CustomerInstance.", examples=["cb4c867f44a92-g1"])
    instance_url: str | None = Field(
        description="Where the instance will answer. null while BASE_DOMAIN is localhost: its port is known once "
        "deployed, and is then in the deployment status.",
        examples=["https://cb4c867f44a92.iotistic.cloud"],
    )
    estimated_time: str = Field(description="For a person.", examples=["2-5 minutes"])
    check_status_url: str = Field(
        description="Ask here how far it is.", examples=[f"/api/customers/{_ID}/deployment/status"]
    )


class SignupAnswer(Answer):
    """A new account with everything that belongs to it."""

    message: str = Field(
        description="For a person.", examples=["Account created successfully! Your 14-day trial has started."]
    )
    customer: CustomerAnswer
    subscription: SubscriptionAnswer
    license: LicenseAnswer
    deployment: QueuedDeploymentAnswer
    session: SessionAnswer


class LoginAnswer(Answer):
    """Who logged in."""

    customer_id: str = Field(description="The customer's identifier everywhere.", examples=[_ID])
    email: str = Field(description="The account's address.", examples=["john@example.com"])
    license: str = Field(description="The newest license, an RS256 JWT.", examples=["eyJhbGc..."], repr=False)
    session: SessionAnswer
