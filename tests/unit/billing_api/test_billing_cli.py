"""The command line."""

import subprocess
import sys

from billing_api import cli, commands


def test_every_command_there_is_does_something_and_nothing_else_is_to_be_found() -> None:
    assert set(commands.RUN) == {f"{command.group} {command.name}" for command in cli.COMMANDS}


def test_help_is_there_without_loading_what_commands_need() -> None:
    heavy = ("aiohttp", "alembic", "bcrypt", "kubernetes", "psycopg", "sqlalchemy", "starlette", "uvicorn")
    program = f"import sys; import billing_api.__main__; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_a_word_it_serves() -> None:
    assert cli.parse([]).command == cli.parse(["serve"]).command == cli.SERVE
