"""What signup and login are asked with, once it is checked."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SignupRequest:
    """A checked signup; see `names` for the form of each value.

    Attributes:
        email_key: the address in the form in which no two accounts may share it.
    """

    email: str
    email_key: str
    password: str = field(repr=False)
    company_name: str
    full_name: str | None


@dataclass(frozen=True, kw_only=True)
class LoginRequest:
    """A checked login; see SignupRequest."""

    email_key: str
    password: str = field(repr=False)
