"""The keys and certificates that an earlier cluster left."""

import ssl
from pathlib import Path

from hack.errors import DamagedDataError


def require_readable(pki: Path) -> None:
    """Read all certificates of a folder and their keys; raises DamagedDataError with the one that cannot be.

    Components would end because of it, one after the other, and which is seen to end first is a matter of luck.
    """
    for certificate in sorted(pki.glob("*.crt")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(certificate)
            if (key := certificate.with_suffix(".key")).exists():
                context.load_cert_chain(certificate, key)
        except OSError as error:
            raise DamagedDataError(f"{certificate} or its key cannot be read: {error}") from error
