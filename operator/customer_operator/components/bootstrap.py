"""The SQL that gives a new server its roles, its database, and the tables the broker authenticates against.

Run by psql at every start of the server (see database.py), so each statement may be repeated: what is there stays, and
roles and first users get the passwords that the instance's Secrets hold.
"""

from string import Template
from typing import Final

from customer_operator.model.credentials import Credentials

DATABASE: Final = "iotistic"
API_ROLE: Final = "api"
BROKER_ROLE: Final = "broker"
EXPORTER_ROLE: Final = "exporter"

# The first users of the broker; devices are added by the API.
MQTT_API_USER: Final = "api"
MQTT_EXPORTER_USER: Final = "exporter"

# Access is the bit mask of mosquitto-go-auth: 1 read, 2 write, 4 subscribe; who subscribes needs 5, for all it is 7.
_SCRIPT: Final = Template(r"""\set ON_ERROR_STOP on
-- Neither this output nor the server's log may quote a statement with a password in it.
\set VERBOSITY terse
SET log_min_error_statement = panic;
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I', role)
  FROM unnest(ARRAY['$api_role', '$broker_role', '$exporter_role']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE $api_role LOGIN PASSWORD '$api_db_password';
ALTER ROLE $broker_role LOGIN PASSWORD '$broker_db_password';
ALTER ROLE $exporter_role LOGIN PASSWORD '$exporter_db_password';
GRANT pg_monitor TO $exporter_role;

SELECT 'CREATE DATABASE $database OWNER $api_role'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$database') \gexec
REVOKE ALL ON DATABASE $database FROM PUBLIC;
GRANT CONNECT ON DATABASE $database TO $broker_role, $exporter_role;

\connect $database
SET log_min_error_statement = panic;
SET client_min_messages = warning;

BEGIN;

CREATE TABLE IF NOT EXISTS public.mqtt_users (
    -- The broker denies every ACL check of a name with one of these characters.
    username      text        PRIMARY KEY CHECK (username <> '' AND username !~ '[/+#]'),
    password_hash text        NOT NULL,
    is_superuser  boolean     NOT NULL DEFAULT false,
    is_active     boolean     NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.mqtt_acls (
    id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text    NOT NULL REFERENCES public.mqtt_users ON UPDATE CASCADE ON DELETE CASCADE,
    topic    text    NOT NULL CHECK (topic <> ''),
    access   integer NOT NULL CHECK (access BETWEEN 1 AND 7),
    UNIQUE (username, topic)
);

-- The broker's plugin remembers a login under 'auth-NAME-PASSWORD' (mosquitto-go-auth, cache/cache.go): were there a
-- user a and a user a-b, then a with the password b-x would open a-b to the password x until that is forgotten.
CREATE OR REPLACE FUNCTION public.mqtt_users_keep_apart() RETURNS trigger LANGUAGE plpgsql AS $$body$$
DECLARE
    other text;
BEGIN
    -- One at a time: two that came at once would not see each other.
    PERFORM pg_advisory_xact_lock('public.mqtt_users'::regclass::oid::bigint);
    SELECT username INTO other
      FROM public.mqtt_users
     WHERE (starts_with(username, NEW.username || '-') OR starts_with(NEW.username, username || '-'))
       AND username IS DISTINCT FROM OLD.username
     LIMIT 1;
    IF FOUND THEN
        RAISE check_violation USING MESSAGE = format(
            'mqtt_users.username: %L and %L cannot both be, the one being the other up to a "-"; choose another name',
            NEW.username, other);
    END IF;
    RETURN NEW;
END
$$body$$;
CREATE OR REPLACE TRIGGER keep_apart BEFORE INSERT OR UPDATE OF username ON public.mqtt_users
    FOR EACH ROW EXECUTE FUNCTION public.mqtt_users_keep_apart();

ALTER FUNCTION public.mqtt_users_keep_apart() OWNER TO $api_role;
ALTER TABLE public.mqtt_users OWNER TO $api_role;
ALTER TABLE public.mqtt_acls OWNER TO $api_role;
GRANT SELECT ON public.mqtt_users, public.mqtt_acls TO $broker_role;

INSERT INTO public.mqtt_users (username, password_hash, is_superuser)
VALUES ('$mqtt_api_user', '$mqtt_api_hash', true),
       ('$mqtt_exporter_user', '$mqtt_exporter_hash', false)
    ON CONFLICT (username) DO UPDATE
   SET password_hash = excluded.password_hash, is_superuser = excluded.is_superuser, is_active = true;

INSERT INTO public.mqtt_acls (username, topic, access)
VALUES ('$mqtt_exporter_user', '$$SYS/#', 5)
    ON CONFLICT (username, topic) DO UPDATE SET access = excluded.access;

COMMIT;
""")


def sql(credentials: Credentials) -> str:
    """Return the psql script; the values cannot break out of their quotes, see Credentials."""
    return _SCRIPT.substitute(
        database=DATABASE,
        api_role=API_ROLE,
        broker_role=BROKER_ROLE,
        exporter_role=EXPORTER_ROLE,
        api_db_password=credentials.api_db_password,
        broker_db_password=credentials.broker_db_password,
        exporter_db_password=credentials.exporter_db_password,
        mqtt_api_user=MQTT_API_USER,
        mqtt_api_hash=credentials.mqtt_api_password_hash,
        mqtt_exporter_user=MQTT_EXPORTER_USER,
        mqtt_exporter_hash=credentials.mqtt_exporter_password_hash,
    )
