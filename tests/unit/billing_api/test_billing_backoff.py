from random import Random

import pytest

from billing_api.backoff import delay


@pytest.mark.parametrize(("failures", "most"), [(1, 1), (2, 2), (3, 4), (7, 60), (10_000, 60)])
def test_the_wait_doubles_up_to_its_bound_with_up_to_half_off(failures: int, most: float) -> None:
    waits = [delay(failures, first=1, longest=60, random=Random(seed)) for seed in range(200)]
    assert all(most / 2 <= wait <= most for wait in waits)
    assert max(waits) - min(waits) > most / 4
