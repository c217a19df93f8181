"""Everything that can go wrong, as one small tree.

OperatorError
├── SettingInvalid     environment variables of the operator cannot be used
├── UserError          the resource asks for something impossible: a condition, never retried in a loop
│   ├── InstanceInvalid    a field of spec that cannot be understood
│   ├── LicenseRejected    a license that cannot be trusted
│   ├── NamespaceTaken     the namespace belongs to somebody else
│   ├── HostnameTaken      another instance has the hostname
│   └── CredentialsLost    the database's password is gone, the data it protects is not
└── TransientError     an outage: retried with backoff
    ├── SecretBroken       a Secret of the operator's own holds what it cannot use
    └── ClusterError       the API server refused
        ├── ClusterUnreachable  it does not answer, or cannot work now
        │   └── LeadershipLost      a write that must not leave: another replica may lead
        ├── PermissionMissing   our role does not allow it (yet)
        ├── AdmissionRefused    it finds the object invalid
        ├── VersionExpired      a watch or a list cannot go on from where it was
        └── Conflict            the object is not the one we saw
            └── AlreadyExists       it was to be created
"""

from collections.abc import Mapping


class OperatorError(Exception):
    """Base of every error the operator raises on purpose."""


class SettingInvalid(OperatorError):
    """Environment variables whose values cannot be used; the operator does not start."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        """Take what is wrong with each variable, and how it must be."""
        super().__init__("\n".join(f"{variable} {problem}" for variable, problem in problems.items()))


class UserError(OperatorError):
    """A mistake in the resource that only its author can cure.

    `reason` is the CamelCase word of the condition, `field` the path in the resource, `message` names the cure.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.reason = reason
        self.field = field
        self.message = message


class InstanceInvalid(UserError):
    """A field that the API server admitted, or an older version of the contract did, but nobody can carry out."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("InvalidSpec", field, message)


class LicenseRejected(UserError):
    """A license that cannot be trusted; the message says why and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__("LicenseInvalid", "spec.license", message)


class NamespaceTaken(UserError):
    """The instance's namespace exists and belongs to another customer, or to nobody we know."""

    def __init__(self, namespace: str, owner: str | None) -> None:
        whose = f"customer {owner!r}" if owner else "no customer"
        super().__init__(
            "NamespaceTaken",
            "metadata.name",
            f"namespace {namespace} exists and belongs to {whose}; choose another name or remove that namespace",
        )


class HostnameTaken(UserError):
    """Another instance, which may be another customer's, serves the hostname, or is older and asks for it too."""

    def __init__(self, hostname: str) -> None:
        super().__init__(
            "HostnameTaken",
            "spec.hostname",
            f"{hostname} is in use by another instance of this platform; choose another hostname, or remove the field "
            "for the platform's own. If the domain is yours, ask the platform's operators to release it",
        )


class CredentialsLost(UserError):
    """The Secret `credentials`, or the database's password in it, is gone while the database's volume lives on."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            "CredentialsLost",
            "metadata.name",
            f"Secret credentials in namespace {namespace} is gone or lacks postgres_password, but the volume of the "
            "database needs it; restore the Secret from a backup, or delete the volume claim to begin with no data",
        )


class TransientError(OperatorError):
    """Something outside did not answer as it should; the same attempt may succeed later."""


class SecretBroken(TransientError):
    """A Secret of the operator's own holds what it cannot use; retried, for only an edit of the Secret can cure it.

    `problem` names the key and never shows its value, `cure` says what to do.
    """

    def __init__(self, name: str, *, namespace: str, problem: str, cure: str) -> None:
        super().__init__(f"Secret {name} in namespace {namespace}: {problem}; {cure}")


class ClusterError(TransientError):
    """The API server refused a request; `status` is the HTTP status code, 0 when no answer came."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ClusterUnreachable(ClusterError):
    """The API server does not answer, or says that it cannot work now: nobody's failure, tried again soon."""


class LeadershipLost(ClusterUnreachable):
    """A write that was not sent, or cut off: this replica does not lead, and will do it anew when it does again."""


class PermissionMissing(ClusterError):
    """RBAC forbids the request."""


class AdmissionRefused(ClusterError):
    """The API server finds the object invalid: trying again cannot help."""


class VersionExpired(ClusterError):
    """The API server no longer knows the resource version to go on from: everything must be listed again."""


class Conflict(ClusterError):
    """The object is not the one we saw, or somebody was faster."""


class AlreadyExists(Conflict):
    """The object was to be created, and exists."""
