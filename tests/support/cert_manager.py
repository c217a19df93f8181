"""cert-manager beside the cluster: its CRDs, its controllers as a process, and issuers with authorities of ours."""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from customer_operator.credentials.encoding import decode, encode
from customer_operator.naming import Manifest
from hack.binaries import ensure_binaries
from hack.binaries.cert_manager import certificate_definitions, read_cert_manager_catalogue
from hack.cluster import LocalCluster
from hack.processes import dying_with_parent
from tests.support.certificates import condition
from tests.support.kubernetes import Condition, Kubernetes, condition_of
from tests.support.rights import thing

NAMESPACE = "cert-manager"
_PROGRAM = "cert-manager-controller"
_END = 15.0  # seconds


class CertManager:
    """Installed, started and removed in parts, as a test needs it."""

    def __init__(self, cluster: LocalCluster, api: Kubernetes, folder: Path) -> None:
        """Take the administrator's access, and the folder of the log."""
        self._cluster = cluster
        self._api = api
        self._log = folder / f"{_PROGRAM}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def install(self) -> None:
        """Have the cluster know the kinds."""
        files = [f"--filename={file}" for file in certificate_definitions()]
        self._cluster.kubectl("apply", "--server-side", *files)
        self._cluster.kubectl("wait", *files, "--for=condition=Established", "--timeout=30s")

    def remove(self) -> None:
        """Have the cluster forget the kinds, with all objects of them."""
        self.stop()
        files = [f"--filename={file}" for file in certificate_definitions()]
        self._cluster.kubectl("delete", "--ignore-not-found", "--wait", *files)

    def create_issuer(self, name: str) -> str:
        """Create an issuer with an authority of its own, and return the authority's certificate (PEM)."""
        pair = certificates.create_authority(now=datetime.now(UTC))
        data = encode({"tls.crt": pair.certificate, "tls.key": pair.private_key})
        self._api.apply(thing("Namespace", NAMESPACE))
        self._api.create(thing("Secret", name, namespace=NAMESPACE, type="kubernetes.io/tls", data=data))
        spec = {"ca": {"secretName": name}}
        self._api.create(thing("ClusterIssuer", name, version="cert-manager.io/v1", spec=spec))
        return pair.certificate

    def start(self) -> None:
        """Start the controllers, or start them again."""
        program = ensure_binaries([_PROGRAM], catalogue=read_cert_manager_catalogue())[_PROGRAM]
        self._output = self._log.open("ab")
        self._process = subprocess.Popen(
            [str(program), f"--kubeconfig={self._cluster.kubeconfig}", f"--cluster-resource-namespace={NAMESPACE}"],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            preexec_fn=dying_with_parent(),
        )

    def stop(self) -> None:
        """End the controllers."""
        if self._process is not None and self._output is not None:
            self._process.terminate()
            self._process.wait(timeout=_END)
            self._output.close()
        self._process = self._output = None

    def renew(self, name: str, *, namespace: str) -> None:
        """Ask for another certificate, as `cmctl renew` does."""
        live = self._api.get("Certificate", name, namespace=namespace)
        asked = condition(
            "Issuing",
            "True",
            reason="ManuallyTriggered",
            message="asked for",
            generation=live["metadata"]["generation"],
        )
        self.say({**live["status"], "conditions": [condition_of(live, "Ready"), asked]}, name, namespace=namespace)

    def say(self, status: dict[str, Any], name: str, *, namespace: str) -> None:
        """Write the status of a Certificate, in the controllers' stead."""
        live = self._api.get("Certificate", name, namespace=namespace)
        path = f"/apis/cert-manager.io/v1/namespaces/{namespace}/certificates/{name}/status"
        self._api.send("PUT", path, body={**live, "status": status})

    def log_tail(self) -> str:
        """Return the last that the controllers have logged."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


def has_revision(number: int) -> Condition:
    """Return the condition that a Certificate has been issued for the so-manieth time, and is Ready."""

    def holds(live: Manifest | None) -> bool:
        revision = ((live or {}).get("status") or {}).get("revision", 0)
        return bool(revision >= number and condition_of(live, "Ready").get("status") == "True")

    return holds


def next_second() -> None:
    """Let a second begin: a certificate's times are whole ones."""
    time.sleep(1.1 - time.time() % 1)


def broker(api: Kubernetes, home: str) -> Manifest:
    """Return the live StatefulSet of a broker."""
    return api.get("StatefulSet", "mosquitto", namespace=home)


def mounted(live: Manifest | None) -> str:
    """Return the Secret that a broker has its certificate from."""
    volumes = {item["name"]: item for item in (live or {})["spec"]["template"]["spec"]["volumes"]}
    return str(volumes["tls"]["secret"]["secretName"])


def uses(secret: str, *, after: Manifest) -> Condition:
    """Return the condition that a broker has been rolled to a Secret, and that all of its pods have."""

    def holds(live: Manifest | None) -> bool:
        if live is None or live["metadata"]["generation"] == after["metadata"]["generation"]:
            return False
        status = live["status"]
        rolled = status["updateRevision"] == status["currentRevision"] != after["status"]["currentRevision"]
        return rolled and mounted(live) == secret

    return holds


def rolls(before: Manifest, after: Manifest) -> int:
    """Return how often the template of a broker has changed between two versions of it."""
    return int(after["metadata"]["generation"] - before["metadata"]["generation"])


def says(status: str, message: str) -> Condition:
    """Return the condition that an instance's certificate is reported like this."""

    def holds(live: Manifest | None) -> bool:
        found = condition_of(live, "CertificateReady")
        return found.get("status") == status and message in found["message"]

    return holds


def pair_of(secret: Manifest) -> KeyPair:
    """Return the certificate in a live Secret."""
    return KeyPair(certificate=decode(secret["data"]["tls.crt"]), private_key=decode(secret["data"]["tls.key"]))


def holds(kind: str) -> Condition:
    """Return the condition that a condition of an object is True."""
    return lambda live: condition_of(live, kind).get("status") == "True"
