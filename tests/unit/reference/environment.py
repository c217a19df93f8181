"""What the reference API is told in the unit tests."""

import json
from collections.abc import Mapping
from typing import Final

from tests.support import licenses

ENVIRONMENT: Final[Mapping[str, str]] = {
    "DATABASE_URL": "postgresql://api:secret@postgres:5432/iotistic",
    "POSTGRES_PASSWORD": "secret",
    "MQTT_BROKER": "mqtt://mosquitto:1883",
    "IOTISTIC_PLAN": "starter",
    "IOTISTIC_FEATURES": '{"maxDevices":10,"dataRetentionDays":90}',
    "IOTISTIC_LIMITS": '{"mqttMessagesPerDay":1000,"apiRequestsPerDay":100}',
    "IOTISTIC_LICENSE_AUDIENCE": licenses.AUDIENCE,
    "IOTISTIC_LICENSE_ISSUER": licenses.ISSUER,
    "IOTISTIC_LICENSE_JWKS": json.dumps({"keys": [licenses.jwk("k1"), licenses.jwk("k2")]}),
}
