"""Workloads of one container that are admitted to a customer's namespace, for tests of what they run on."""

from collections.abc import Sequence
from typing import Any

from customer_operator.naming import Manifest

USER = 10001
PORT = 8080


def container(image: str, *command: str, **values: Any) -> Manifest:
    """Return a container that is allowed what is allowed to everybody; keyword arguments are further fields."""
    return {
        "name": "main",
        "image": image,
        "command": list(command),
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **values,
    }


def template(name: str, main: Manifest, **spec: Any) -> Manifest:
    """Return a pod template around a container; keyword arguments are further fields of the pod's spec."""
    security = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": security,
            "terminationGracePeriodSeconds": 1,
            "containers": [main],
            **spec,
        },
    }


def deployment(name: str, pod: Manifest, *, replicas: int = 1) -> Manifest:
    """Return a Deployment of a pod template."""
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def stateful_set(name: str, pod: Manifest, *, claims: Sequence[Manifest]) -> Manifest:
    """Return a StatefulSet of one pod, with a volume for each claim."""
    spec = {
        "serviceName": name,
        "selector": {"matchLabels": {"app": name}},
        "template": pod,
        "volumeClaimTemplates": list(claims),
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}


def claim(name: str, size: str = "16Mi") -> Manifest:
    """Return a claim of the default StorageClass."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def service(name: str) -> Manifest:
    """Return a Service of port 80 for a workload that listens on PORT."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def web(name: str, image: str, *, replicas: int = 1) -> list[Manifest]:
    """Return a web server, with its Service, that answers `hello from NAME`."""
    page = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"index.html": f"hello from {name}"},
    }
    server = container(
        image,
        *("httpd", "-f", "-p", str(PORT), "-h", "/www"),
        ports=[{"containerPort": PORT}],
        readinessProbe={"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        volumeMounts=[{"name": "page", "mountPath": "/www", "readOnly": True}],
    )
    pod = template(name, server, volumes=[{"name": "page", "configMap": {"name": name}}])
    return [page, deployment(name, pod, replicas=replicas), service(name)]


def client(name: str, image: str) -> Manifest:
    """Return a pod that waits for commands."""
    return deployment(name, template(name, container(image, "sleep", "3600")))
