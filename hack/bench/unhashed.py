"""`python -m hack.bench.unhashed`: the billing API as it is, but bcrypt answers a new password from a constant.

What remains of a signup is the API's own: HTTP, validation, limits, the license's signature, the transaction. The
product has no such switch; the library is replaced under it, before it is imported.
"""

import bcrypt

_HASH = bcrypt.hashpw(b"constant", bcrypt.gensalt(4))


def _answer(password: bytes, salt: bytes) -> bytes:
    return _HASH


if __name__ == "__main__":
    bcrypt.hashpw = _answer
    from billing_api.__main__ import main

    main()
