"""The access token: it follows from the instance's secret, tells nothing of it, and is the only thing that opens."""

import subprocess
import sys

import pytest

from reference_api.access import access_token, client_id, require
from reference_api.errors import Unauthorized
from reference_api.settings import Settings, from_environment
from tests.unit.reference.environment import ENVIRONMENT


def settings(password: str = "secret") -> Settings:
    return from_environment({**ENVIRONMENT, "POSTGRES_PASSWORD": password})


def test_it_is_the_same_at_every_start_and_another_one_for_another_instance() -> None:
    assert access_token(settings()) == access_token(settings())
    assert access_token(settings()) != access_token(settings("other"))
    assert "secret" not in access_token(settings())


def test_no_device_can_guess_the_clients_id_from_the_token_or_the_other_way_around() -> None:
    assert client_id(settings()) == client_id(settings())
    assert client_id(settings()).removeprefix("api-") not in access_token(settings())
    # What every broker has to take (MQTT 5, 3.1.3.1) but for the hyphen, which all of them do.
    assert len(client_id(settings())) <= 64


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic TOKEN", "TOKEN", "Bearer TOKENx"])
def test_a_header_without_it_does_not_open(header: str) -> None:
    token = access_token(settings())

    with pytest.raises(Unauthorized):
        require(header.replace("TOKEN", token), token)


@pytest.mark.parametrize("header", ["Bearer TOKEN", "bearer TOKEN", "Bearer  TOKEN"])
def test_a_header_with_it_opens(header: str) -> None:
    token = access_token(settings())

    require(header.replace("TOKEN", token), token)


def test_a_mistyped_question_for_the_token_serves_nothing_and_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reference_api", "token"],
        env=dict(ENVIRONMENT),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (78, "")
    assert "token is no command; there is access-token" in done.stderr
