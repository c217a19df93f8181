"""How to reach the API server: from a kubeconfig, or as a pod."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import client
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from kubernetes.aio.config.kube_config import KubeConfigLoader

from billing_api.errors import SettingsError
from billing_api.kube.credentials import Credentials, ExecPlugin, Fixed, TokenFile
from billing_api.settings import Settings

#: Where the kubelet mounts a pod's token and the cluster's certificate.
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: A kubeconfig's way to give plugins settings of their own (Kubernetes documentation: "client-go credential plugins").
_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """An API server and what to show it.

    Attributes:
        server: address, trust and proxy, as the library takes them; no token.
        credentials: who we are, now and after every renewal.
    """

    server: client.Configuration
    credentials: Credentials


async def configuration(settings: Settings) -> Configuration | None:
    """Find the cluster to use: KUBECONFIG, else the pod's service account, else None.

    Raises:
        SettingsError: what is there cannot be used.
    """
    try:
        if settings.kubeconfig is not None:
            return await _of_kubeconfig(settings.kubeconfig.parent, settings.kubeconfig.read_text())
        return _of_pod() if settings.kubernetes_service_host else None
    except yaml.YAMLError as error:
        # Its text may show a line of the file, and with it a token.
        problem, cause = _place(error), None
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem, cause = str(error), error
    source = settings.kubeconfig or "the service account"
    raise SettingsError(f"KUBECONFIG: {source} cannot be used: {problem}") from cause


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "it is not YAML" + ("" if mark is None else f", see its line {mark.line + 1}")


def _of_pod() -> Configuration:
    found = client.Configuration()
    token = _ACCOUNT / "token"
    InClusterConfigLoader(
        token_filename=str(token), cert_filename=str(_ACCOUNT / "ca.crt"), try_refresh_token=False
    ).load_and_set(found)
    return Configuration(server=found, credentials=TokenFile(token))


async def _of_kubeconfig(folder: Path, text: str) -> Configuration:
    """Read a kubeconfig; paths in it are relative to its folder."""
    found = client.Configuration()
    document = yaml.safe_load(text)
    if not isinstance(document, dict):
        raise ValueError("it is empty, or no kubeconfig")
    loader = KubeConfigLoader(document, config_base_path=str(folder))
    # The library reads these once, and never again.
    user, cluster = _current(document)
    plugin, token_file = user.pop("exec", None), user.pop("tokenFile", None)
    await loader.load_and_set(found)
    fixed = found.api_key.pop("BearerToken", "").strip() or None
    credentials: Credentials = Fixed(fixed)
    if plugin is not None:
        told = _told_of_cluster(cluster, authority=found.ssl_ca_cert)
        credentials = ExecPlugin(plugin, folder=folder, cluster=told)
    elif token_file is not None:
        credentials = TokenFile(folder / token_file)
    return Configuration(server=found, credentials=credentials)


def _current(document: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return user and cluster of the current context; the loader has found the context and the cluster already."""
    named = {kind: {item["name"]: item for item in document.get(kind) or ()} for kind in ("contexts", "users")}
    context = named["contexts"][document["current-context"]]["context"]
    user = named["users"].get(context.get("user"), {}).get("user")
    clusters = {item["name"]: item["cluster"] for item in document["clusters"]}
    return {} if user is None else user, clusters[context["cluster"]]


def _told_of_cluster(cluster: Mapping[str, Any], *, authority: str | None) -> dict[str, Any]:
    """Return a kubeconfig's cluster as `spec.cluster` of an ExecCredential."""
    plain = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    told = {key: cluster[key] for key in plain if key in cluster}
    if authority:
        told["certificate-authority-data"] = base64.b64encode(Path(authority).read_bytes()).decode()
    extensions = {item["name"]: item.get("extension") for item in cluster.get("extensions") or ()}
    return {**told, **({"config": extensions[_PLUGIN_EXTENSION]} if _PLUGIN_EXTENSION in extensions else {})}
