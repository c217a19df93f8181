"""How long to wait before trying again."""

from random import Random


def delay(failures: int, *, first: float, longest: float, random: Random) -> float:
    """Return the seconds to wait after so many failures in a row: doubled each time, bounded, with jitter.

    The jitter takes up to half off, so that many who failed together do not come back together.

    Args:
        failures: 1 or more.
        first: the wait after the first failure, in seconds.
        longest: the bound, in seconds.
        random: source of the jitter.
    """
    exponent = min(failures - 1, 32)
    return float(min(longest, first * 2**exponent)) * random.uniform(0.5, 1.0)
