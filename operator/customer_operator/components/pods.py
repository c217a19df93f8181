"""Pods as Pod Security "restricted" admits them, and the two workloads that run them."""

from collections.abc import Mapping, Sequence
from typing import Final

from customer_operator import naming
from customer_operator.components import objects
from customer_operator.components.context import Context
from customer_operator.model.plans import Resources
from customer_operator.naming import Manifest

# Owner and group may read what is mounted from a Secret; the group is the pod's fsGroup.
_SECRET_MODE: Final = 0o440


def container(
    *,
    name: str,
    image: str,
    resources: Resources,
    ports: Mapping[str, int] | None = None,
    env: Sequence[Manifest] = (),
    mounts: Sequence[Manifest] = (),
    command: Sequence[str] = (),
    probes: Mapping[str, Manifest] | None = None,
    user: int | None = None,
) -> Manifest:
    """Return a container without privileges; parts that are empty are left out, as the server does.

    `probes` are keyed startupProbe, readinessProbe and livenessProbe; `user` is a uid (and gid) other than the pod's.
    """
    parts: Manifest = {
        "command": list(command),
        "ports": [{"name": key, "containerPort": port, "protocol": "TCP"} for key, port in (ports or {}).items()],
        "env": list(env),
        "volumeMounts": list(mounts),
        **(probes or {}),
    }
    return {
        "name": name,
        "image": image,
        # No image can come to mean another one: see model/images.py.
        "imagePullPolicy": "IfNotPresent",
        "resources": resources.manifest(),
        "securityContext": _security(user),
        **{key: value for key, value in parts.items() if value},
    }


def _security(user: int | None) -> Manifest:
    own_user = {} if user is None else {"runAsUser": user, "runAsGroup": user}
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        **own_user,
    }


def template(
    context: Context,
    component: str,
    *,
    account: str,
    user: int,
    spec: Manifest,
    annotations: Mapping[str, str] | None = None,
    grace_seconds: int = 30,
) -> Manifest:
    """Return a pod template that runs as uid and gid `user`; `spec` holds containers, volumes and so on."""
    metadata: Manifest = {"labels": naming.labels(context.name, component)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "metadata": metadata,
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            # Otherwise every Service adds variables such as API_PORT=tcp://…, which programs take for settings.
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "runAsGroup": user,
                "fsGroup": user,
                # Always would open Postgres' data directory to the group, with which Postgres refuses to start.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **spec,
        },
    }


def deployment(
    context: Context, component: str, *, name: str, pod: Manifest, strategy: Manifest, replicas: int = 1
) -> Manifest:
    """Return a Deployment of this many pods, of none while the instance is scaled down."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": objects.metadata(context, component, name),
        "spec": {
            "replicas": context.replicas(replicas),
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": 600,
            "strategy": strategy,
            "selector": {"matchLabels": naming.selector(context.name, component)},
            "template": pod,
        },
    }


def surge() -> Manifest:
    """Return the strategy that starts the new pod before the old one goes: no moment without the service."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def recreate() -> Manifest:
    """Return the strategy for what must not run twice."""
    return {"type": "Recreate"}


def stateful_set(context: Context, component: str, *, name: str, pod: Manifest, claims: Sequence[Manifest]) -> Manifest:
    """Return a StatefulSet of one pod, of none while the instance is scaled down."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": objects.metadata(context, component, name),
        "spec": {
            "replicas": context.replicas(),
            "serviceName": name,
            "revisionHistoryLimit": 2,
            # OrderedReady would wait for a broken pod before replacing it by its correction (kubernetes#67250).
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            # Suspension scales to zero, and a StatefulSet deleted by hand is restored: neither may cost the data.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "selector": {"matchLabels": naming.selector(context.name, component)},
            "template": pod,
            "volumeClaimTemplates": list(claims),
        },
    }


def claim(context: Context, component: str, *, name: str, key: str, size: str) -> Manifest:
    """Return a volume claim template; immutable once applied, so it carries only the labels that never change."""
    volume = context.instance.storage.get(key)
    storage_class = volume.storage_class if volume else None
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": naming.selector(context.name, component)},
        "spec": spec,
    }


def mount(name: str, path: str, *, read_only: bool = False) -> Manifest:
    """Return the mount of a volume; the server leaves readOnly out when it is false."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def scratch(name: str, size: str) -> Manifest:
    """Return a bounded temporary volume, for what a read-only root file system does not let programs write."""
    return {"name": name, "emptyDir": {"sizeLimit": size}}


def secret_volume(name: str, secret: str, keys: Sequence[str] = ()) -> Manifest:
    """Return a volume of a Secret's keys (of all when none is named), as files of the same names."""
    source: Manifest = {"secretName": secret, "defaultMode": _SECRET_MODE}
    if keys:
        source["items"] = [{"key": key, "path": key} for key in keys]
    return {"name": name, "secret": source}


def env(name: str, value: str) -> Manifest:
    """Return an environment variable with this very text: unescaped, the kubelet would replace $(NAME) in it."""
    return {"name": name, "value": value.replace("$", "$$")}


def secret_env(name: str, secret: str, *, key: str | None = None, optional: bool = False) -> Manifest:
    """Return an environment variable from a Secret, whose key is the variable's name unless another is given."""
    reference: Manifest = {"name": secret, "key": key or name, **({"optional": True} if optional else {})}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def tcp(port: str, **timing: int) -> Manifest:
    """Return a probe that connects to a container port; timing as in the Probe object, in seconds."""
    return {"tcpSocket": {"port": port}, **timing}


def http(path: str, port: str, **timing: int) -> Manifest:
    """Return a probe that expects an HTTP status from 200 to 399."""
    return {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}, **timing}


def command(*words: str, **timing: int) -> Manifest:
    """Return a probe that expects a command in the container to exit with 0."""
    return {"exec": {"command": list(words)}, **timing}
