"""What a customer is told of the deployment, from the resource as it is seen and the outbox. Pure."""

from datetime import datetime, timedelta

from billing_api.db.outbox import Progress
from billing_api.deployments.models import (
    ComponentAnswer,
    DeployedCustomerAnswer,
    DeploymentAnswer,
    DeploymentStatus,
    JobAnswer,
    JobState,
    StageAnswer,
)
from billing_api.kube.instances import Condition, Instance, Sight, Stage

#: Conditions of the instance as a whole (kstatus and the license); all others stand for a component.
_WHOLE = frozenset({"Ready", "Reconciling", "Stalled", "LicenseValid"})
_COMPLETED = frozenset({"Ready", "Suspended"})


def job_id(name: str, generation: int) -> str:
    """Return the identifier of the work on one generation of an instance."""
    return f"{name}-g{generation}"


def instance_url(name: str, *, base_domain: str) -> str | None:
    """Return where an instance will answer; None on localhost, where the port is allocated later."""
    return None if base_domain == "localhost" else f"https://{name}.{base_domain}"


def describe(*, name: str, sight: Sight, outbox: Progress | None, base_domain: str) -> DeploymentAnswer:
    """Put together the answer of the deployment status.

    Args:
        name: the instance's name.
        sight: what can be seen of it.
        outbox: how far telling Kubernetes is; None when nothing was ever to be told.
        base_domain: BASE_DOMAIN.
    """
    instance = sight.instance
    if instance is None:
        return _absent(name=name, sight=sight, outbox=outbox, base_domain=base_domain)
    state = job_state(instance)
    return DeploymentAnswer(
        customer=DeployedCustomerAnswer(
            deploymentStatus=_deployment_status(instance, state),
            instanceUrl=instance.urls.get("dashboard") or instance_url(name, base_domain=base_domain),
            deployedAt=_deployed_at(instance),
            deploymentError=instance.message if state == "failed" else None,
        ),
        job=JobAnswer(
            id=job_id(name, instance.generation),
            state=state,
            progress=instance.progress if state != "waiting" else 0,
            attempts=instance.attempts,
            nextAttemptAt=instance.next_attempt_at,
            estimatedReadyAt=instance.estimated_ready_at,
        ),
        phase=instance.phase,
        message=_message(instance, sight),
        namespace=instance.namespace or f"customer-{name}",
        urls=dict(instance.urls),
        stages=[_stage(stage) for stage in instance.stages],
        components=[_component(condition) for condition in instance.conditions if condition.type not in _WHOLE],
    )


def job_state(instance: Instance) -> JobState:
    """Tell the state of the work on the instance's current generation, in the words of the documents' queue."""
    if instance.phase is None or instance.observed_generation < instance.generation:
        return "waiting"
    if instance.phase == "Failed":
        return "failed"
    if instance.phase in _COMPLETED and not instance.deleting:
        return "completed"
    return "delayed" if instance.next_attempt_at else "active"


# Told to customers, who need not know of what the platform is made; there may be no cluster at all.
_OUT_OF_SIGHT = "The state of the instance cannot be seen at the moment."
_NOT_UNDERSTOOD = "The state of the instance cannot be read at the moment; our support team has been told."


def _message(instance: Instance, sight: Sight) -> str:
    message = instance.message or "The deployment has not begun yet."
    if not sight.current:
        return f"{_OUT_OF_SIGHT} Last known: {message}"
    return message if sight.readable else f"{_NOT_UNDERSTOOD} Last known: {message}"


def _absent(*, name: str, sight: Sight, outbox: Progress | None, base_domain: str) -> DeploymentAnswer:
    """Answer for an instance that is not there: not yet, refused, or no more."""
    failed = outbox is not None and outbox.state == "refused"
    error = outbox.last_error if outbox and failed else None
    status: DeploymentStatus = "deleted" if sight.gone else "failed" if failed else "pending"
    state: JobState = "completed" if sight.gone else "failed" if failed else "waiting"
    generation = outbox.applied_generation if outbox and outbox.applied_generation else 1
    return DeploymentAnswer(
        customer=DeployedCustomerAnswer(
            deploymentStatus=status,
            instanceUrl=None if sight.gone else instance_url(name, base_domain=base_domain),
            deployedAt=None,
            deploymentError=error,
        ),
        job=JobAnswer(
            id=job_id(name, generation),
            state=state,
            progress=0,
            attempts=outbox.attempts if outbox else 0,
            nextAttemptAt=outbox.next_attempt_at if outbox and outbox.state == "pending" and outbox.attempts else None,
            estimatedReadyAt=None,
        ),
        phase=None,
        message=_absence(sight, error=error),
        namespace=f"customer-{name}",
        urls={},
        stages=[],
        components=[],
    )


def _absence(sight: Sight, *, error: str | None) -> str:
    if sight.gone:
        return "The instance has been deleted."
    if error:
        return f"The deployment failed and needs our support team: {error}"
    if not sight.current:
        return f"{_OUT_OF_SIGHT} Nothing is lost: a deployment that waits starts by itself."
    if not sight.readable:
        return _NOT_UNDERSTOOD
    return "The deployment is queued and starts in a moment."


def _deployment_status(instance: Instance, state: JobState) -> DeploymentStatus:
    if instance.deleting or instance.phase == "Deleting":
        return "deleted"
    if state == "failed":
        return "failed"
    if state == "completed" or instance.time_to_ready_seconds is not None:
        return "deployed"
    return "pending" if state == "waiting" else "deploying"


def _deployed_at(instance: Instance) -> datetime | None:
    if instance.created_at is None or instance.time_to_ready_seconds is None:
        return None
    return instance.created_at + timedelta(seconds=instance.time_to_ready_seconds)


def _stage(stage: Stage) -> StageAnswer:
    return StageAnswer(
        name=stage.name,
        state=stage.state,
        startedAt=stage.started_at,
        finishedAt=stage.finished_at,
        message=stage.message,
    )


def _component(condition: Condition) -> ComponentAnswer:
    return ComponentAnswer(
        name=condition.type.removesuffix("Ready"),
        ready=condition.status == "True",
        status=condition.reason,
        message=condition.message,
    )
