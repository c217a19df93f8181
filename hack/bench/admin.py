"""The administrator's own connection to the API server, as plain HTTP: a benchmark must add little to the load."""

import json
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp

from hack.cluster import LocalCluster

_EVENT_LIMIT = 4 * 2**20  # bytes of one watch event, which is one line


def connect(cluster: LocalCluster, *, limit: int) -> aiohttp.ClientSession:
    """Return a session with the administrator's certificate and at most `limit` connections."""
    tls = ssl.create_default_context(cafile=str(cluster.ca))
    tls.load_cert_chain(cluster.files.pki / "admin.crt", cluster.files.pki / "admin.key")
    connector = aiohttp.TCPConnector(ssl=tls, limit=limit)
    timeout = aiohttp.ClientTimeout(total=None)
    return aiohttp.ClientSession(cluster.server, connector=connector, timeout=timeout, read_bufsize=_EVENT_LIMIT)


async def watch(session: aiohttp.ClientSession, path: str, seen: Callable[[str, dict[str, Any]], bool]) -> None:
    """Hand every event (its type, its object) to `seen`, those that exist first, until it returns True."""
    while True:
        async with session.get(path, params={"watch": "true", "allowWatchBookmarks": "false"}) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                event = json.loads(line)
                if seen(event["type"], event["object"]):
                    return
