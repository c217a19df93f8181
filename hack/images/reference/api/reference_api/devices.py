"""Devices: rows of the API's own, and beside each the broker's user and ACL in the schema `mqtt`.

A device is what the API has registered; the broker's own users (api, exporter) are none, and cannot be deleted here.
"""

import asyncio
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import bcrypt
from psycopg import errors

from reference_api.database import AsyncConnection, Database
from reference_api.errors import Conflict, Forbidden, InvalidRequest, NotFound
from reference_api.migrations import READING_TABLES
from reference_api.readings import DEVICE_TOPICS

#: Of the names that broker and database take, those that need no escaping in topics, paths and pages. Not "." and "..",
#: which clients take for folders: /api/devices/.. would never be asked for.
_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,64}")
_HASH_COST: Final = 10  # the contract's: a check holds up the broker, which has one thread
_FULL_ACCESS: Final = 7  # read 1, write 2, subscribe 4

_ADD_USER: Final = "INSERT INTO mqtt.mqtt_users (username, password_hash) VALUES (%s, %s)"
_ADD_ACL: Final = "INSERT INTO mqtt.mqtt_acls (username, topic, access) VALUES (%s, %s, %s)"
_LIST: Final = "SELECT name, created_at FROM devices WHERE name > %s ORDER BY name LIMIT %s"
# Of each device, no more than a page shows: a device may send as many names as it likes.
_LATEST: Final = """
    SELECT device, latest.* FROM unnest(%s::text[]) AS device CROSS JOIN LATERAL (
        SELECT name, time, value FROM latest_readings WHERE latest_readings.device = device.device
         ORDER BY name LIMIT %s) AS latest
     ORDER BY device, name
"""
_MOST_LATEST: Final = 20
_LOGIN_GOES: Final = "DELETE FROM mqtt.mqtt_users WHERE username = %s"
_READINGS_GO: Final[LiteralString] = """
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE device = %s LIMIT %s))
"""
_READINGS: Final = """
    SELECT name, time, value FROM readings WHERE device = %s AND time < %s ORDER BY time DESC, name LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Login:
    """What a device logs in with; the password is nowhere else."""

    name: str
    password: str


class Devices:
    """The devices of this instance; `limit` is how many it may have, None for any number."""

    def __init__(self, database: Database, *, limit: int | None) -> None:
        self._database = database
        self._limit = limit

    async def register(self, name: str) -> Login:
        """Add a device with a new password, and let it into the broker.

        Raises InvalidRequest, Forbidden at the license's limit, Conflict when the name cannot be taken.
        """
        _require_name(name)
        password = secrets.token_urlsafe(24)
        hashed = await asyncio.to_thread(bcrypt.hashpw, password.encode(), bcrypt.gensalt(_HASH_COST))
        async with self._database.transaction() as connection:
            await self._require_room(connection)
            try:
                await connection.execute("INSERT INTO devices (name) VALUES (%s)", [name])
                await connection.execute(_ADD_USER, [name, hashed.decode()])
                await connection.execute(_ADD_ACL, [name, DEVICE_TOPICS, _FULL_ACCESS])
            except errors.UniqueViolation:
                raise Conflict("device-exists", f"The name {name} is taken") from None
            except errors.CheckViolation as error:
                # One name would be the beginning of another; the database says whose.
                raise Conflict("device-name", str(error.diag.message_primary)) from None
        return Login(name, password)

    async def delete(self, name: str) -> None:
        """Remove a device's login, its readings, then the device; may be repeated. Raises InvalidRequest, NotFound."""
        _require_name(name)
        # The login first, and by itself: nothing that holds up the rest may keep a device in.
        async with self._database.transaction() as connection:
            if not (await connection.execute("SELECT FROM devices WHERE name = %s", [name])).rowcount:
                raise _no_device(name)
            await connection.execute(_LOGIN_GOES, [name])
        for table in READING_TABLES:
            await self._database.delete_in_parts(_READINGS_GO.format(table=table), name)
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM devices WHERE name = %s", [name])

    async def count(self) -> int:
        """Return how many there are."""
        async with self._database.transaction() as connection:
            row = await (await connection.execute("SELECT count(*) FROM devices")).fetchone()
        return int(row[0]) if row else 0

    async def page(self, *, after: str, limit: int) -> list[dict[str, Any]]:
        """Return the devices that follow upon a name, each with the latest of its readings, by their first names.

        Raises InvalidRequest.
        """
        if after:
            _require_name(after)
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(_LIST, [after, limit])).fetchall()
            latest = await (await connection.execute(_LATEST, [[name for name, _ in rows], _MOST_LATEST])).fetchall()
        found: dict[str, dict[str, Any]] = {
            name: {"name": name, "created_at": created_at.isoformat(), "latest": []} for name, created_at in rows
        }
        for device, name, time, value in latest:
            found[device]["latest"].append(_reading(name, time, value))
        return list(found.values())

    async def readings(self, device: str, *, before: datetime, limit: int) -> list[dict[str, Any]]:
        """Return a device's readings before a time, the latest first. Raises InvalidRequest, NotFound."""
        _require_name(device)
        async with self._database.transaction() as connection:
            known = await connection.execute("SELECT FROM devices WHERE name = %s", [device])
            if not known.rowcount:
                raise _no_device(device)
            rows = await (await connection.execute(_READINGS, [device, before, limit])).fetchall()
        return [_reading(*row) for row in rows]

    async def _require_room(self, connection: AsyncConnection) -> None:
        if self._limit is None:
            return
        # One registration at a time, so that two cannot both take the last place.
        await connection.execute("LOCK TABLE devices IN SHARE ROW EXCLUSIVE MODE")
        row = await (await connection.execute("SELECT count(*) FROM devices")).fetchone()
        if row and row[0] >= self._limit:
            raise Forbidden("device-limit", f"The license allows {self._limit} devices (maxDevices)")


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "device-name", "name must have 1 to 64 letters, digits, '_', '.' and '-', and not be one or two dots"
        )


def _reading(name: str, time: datetime, value: float) -> dict[str, Any]:
    return {"name": name, "time": time.isoformat(), "value": value}


def _no_device(name: str) -> NotFound:
    return NotFound("device", f"There is no device {name}")
