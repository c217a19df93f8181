"""What is told of a deployment. Names follow the requirement documents, camelCase where those have it."""

from typing import Literal

from pydantic import Field

from billing_api.http.models import Answer, Timestamp

DeploymentStatus = Literal["pending", "deploying", "deployed", "failed", "deleted"]
JobState = Literal["waiting", "active", "delayed", "completed", "failed"]

_TIME = "2025-10-22T10:30:00Z"


class DeployedCustomerAnswer(Answer):
    """The deployment in a word."""

    deploymentStatus: DeploymentStatus = Field(description="Where it stands.", examples=["deployed"])  # noqa: N815
    instanceUrl: str | None = Field(  # noqa: N815
        description="The dashboard; null until known.", examples=["https://cb4c867f44a92.iotistic.cloud"]
    )
    deployedAt: Timestamp | None = Field(description="When it was first ready.", examples=[_TIME])  # noqa: N815
    deploymentError: str | None = Field(description="Why it failed; else null.")  # noqa: N815


class JobAnswer(Answer):
    """The work on the instance: one job for each generation of its CustomerInstance."""

    id: str = Field(description="Name and generation.", examples=["cb4c867f44a92-g1"])
    state: JobState = Field(
        description="waiting: not yet seen by the operator; delayed: see nextAttemptAt.", examples=["active"]
    )
    progress: int = Field(description="Per cent.", examples=[65])
    attempts: int = Field(description="Failed tries in a row.", examples=[0])
    nextAttemptAt: Timestamp | None = Field(description="When it is tried again.")  # noqa: N815
    estimatedReadyAt: Timestamp | None = Field(description="When it should be ready.", examples=[_TIME])  # noqa: N815


class StageAnswer(Answer):
    """One step of the work."""

    name: str = Field(description="Name of the step.", examples=["Database"])
    state: Literal["Pending", "Active", "Done", "Failed"] = Field(description="How far it is.", examples=["Done"])
    startedAt: Timestamp | None = Field(description="When it began.", examples=["2025-10-22T10:28:00Z"])  # noqa: N815
    finishedAt: Timestamp | None = Field(description="When it was done.", examples=["2025-10-22T10:28:40Z"])  # noqa: N815
    message: str | None = Field(description="What it waits for, or why it failed.")


class ComponentAnswer(Answer):
    """One part of the instance; stands for the ``pods`` of the older documents."""

    name: str = Field(description="Name of the part.", examples=["Database"])
    ready: bool = Field(description="Whether it works.", examples=[True])
    status: str = Field(description="One word for programs.", examples=["Available"])
    message: str = Field(description="A sentence for people.", examples=[""])


class DeploymentAnswer(Answer):
    """How far a customer's instance is."""

    customer: DeployedCustomerAnswer
    job: JobAnswer
    phase: str | None = Field(
        description="The operator's word for it; null until it has one.", examples=["Provisioning"]
    )
    message: str = Field(description="One sentence for a person.", examples=["Waiting for the database"])
    namespace: str = Field(description="Where it runs.", examples=["customer-cb4c867f44a92"])
    urls: dict[str, str] = Field(
        description="Where it answers, as far as known: dashboard, api, mqtt.",
        examples=[{"dashboard": "https://cb4c867f44a92.iotistic.cloud"}],
    )
    stages: list[StageAnswer]
    components: list[ComponentAnswer]
