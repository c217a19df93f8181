import asyncio
import time

import pytest

from billing_api.accounts.passwords import Passwords, hash_password, verify_password


def test_a_hash_is_bcrypt_of_cost_ten_and_verifies_only_its_password() -> None:
    hashed = hash_password("SecurePass123")
    assert hashed.startswith("$2b$10$")
    assert verify_password("SecurePass123", hashed)
    assert not verify_password("SecurePass124", hashed)


@pytest.mark.parametrize("password", ["", "x", "SecurePass123", "x" * 10_000])
def test_nothing_matches_an_account_that_does_not_exist(password: str) -> None:
    assert not verify_password(password, None)


def test_a_password_longer_than_bcrypt_reads_does_not_match_its_beginning() -> None:
    hashed = hash_password("x" * 72)
    assert verify_password("x" * 72, hashed)
    assert not verify_password("x" * 73, hashed)


def test_an_unknown_account_costs_as_much_as_a_known_one() -> None:
    hashed = hash_password("SecurePass123")

    def fastest(password: str, password_hash: str | None) -> float:
        times = []
        for _ in range(5):
            started = time.thread_time()
            verify_password(password, password_hash)
            times.append(time.thread_time() - started)
        return min(times)

    known, unknown = fastest("wrong password", hashed), fastest("wrong password", None)
    too_long = fastest("x" * 73, hashed)
    assert 0.5 < unknown / known < 2
    assert 0.5 < too_long / known < 2


async def test_the_event_loop_goes_on_while_passwords_are_hashed() -> None:
    turns = 0
    with Passwords(threads=1) as passwords:
        hashing = asyncio.ensure_future(passwords.hash("SecurePass123"))
        while not hashing.done():
            turns += 1
            await asyncio.sleep(0)
        assert await passwords.verify("SecurePass123", hashing.result())
    assert turns > 10
