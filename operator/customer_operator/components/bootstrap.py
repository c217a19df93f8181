"""The SQL that gives a server its roles, its database, and the tables the broker authenticates against.

Run by psql at every start of the server (see postgres.py), so each statement may be repeated: what is there stays, and
roles and first users get the passwords that the instance's Secrets hold.

The API role is not trusted. SET ROLE protects nothing from code that runs in a superuser's session, for RESET ROLE
undoes it; so no code of the API may run there at all: what the script reads, writes or calls belongs to the superuser
or to the owner of the broker's tables. What belongs to the API is touched in a session of the API's own.
"""

from string import Template
from typing import Final

from customer_operator.model.credentials import Credentials

DATABASE: Final = "iotistic"
SCHEMA: Final = "mqtt"  # the broker's tables; the API may change their rows, and nothing else about them
OWNER_ROLE: Final = "mqtt_owner"
API_ROLE: Final = "api"
BROKER_ROLE: Final = "broker"
EXPORTER_ROLE: Final = "exporter"

# The first users of the broker; devices are added by the API.
MQTT_API_USER: Final = "api"
MQTT_EXPORTER_USER: Final = "exporter"
# As a device does, the operator comes in through the front door, with rights on one topic (see reachability/).
MQTT_PROBE_USER: Final = "route_probe"
MQTT_PROBE_TOPIC: Final = "route_probe/echo"

# Access is the bit mask of mosquitto-go-auth: 1 read, 2 write, 4 subscribe; who subscribes needs 5, for all it is 7.
_SCRIPT: Final = Template(r"""\set ON_ERROR_STOP on
-- Neither this output nor the server's log may quote a statement with a password in it.
\set VERBOSITY terse
SET log_min_error_statement = panic;
SET log_error_verbosity = terse;
SET client_min_messages = warning;
SET search_path = pg_catalog, pg_temp;
SET lock_timeout = '5s';

SELECT format('CREATE ROLE %I', role)
  FROM unnest(ARRAY['$owner_role', '$api_role', '$broker_role', '$exporter_role']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE postgres PASSWORD '$postgres_password';
ALTER ROLE $owner_role $no_attributes NOLOGIN;
ALTER ROLE $api_role $no_attributes LOGIN PASSWORD '$api_db_password';
ALTER ROLE $broker_role $no_attributes LOGIN PASSWORD '$broker_db_password';
ALTER ROLE $exporter_role $no_attributes LOGIN PASSWORD '$exporter_db_password';
GRANT pg_monitor TO $exporter_role;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;

SELECT 'CREATE DATABASE $database' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$database') \gexec
-- The owner of a database may set what applies to everybody who connects, "role" and "search_path" among it. Hence it
-- is not the API; settings of the time when it was go before anybody connects.
ALTER DATABASE $database OWNER TO postgres;
ALTER DATABASE $database RESET ALL;
ALTER DATABASE $database ALLOW_CONNECTIONS true CONNECTION LIMIT -1 IS_TEMPLATE false;
REVOKE ALL ON DATABASE $database FROM PUBLIC;
GRANT CONNECT ON DATABASE $database TO $broker_role, $exporter_role;
-- Programs may leave out the schema. The API's own tables come first, since CREATE TABLE uses the first schema; the
-- others must not see what the API creates: a function of it could take the place of one they call.
ALTER ROLE $api_role IN DATABASE $database SET search_path = public, $schema;
ALTER ROLE $broker_role IN DATABASE $database SET search_path = $schema;
ALTER ROLE $exporter_role IN DATABASE $database SET search_path = pg_catalog;

\connect $database
SET log_min_error_statement = panic;
SET log_error_verbosity = terse;
SET client_min_messages = warning;
SET search_path = pg_catalog, pg_temp;
SET lock_timeout = '5s';

BEGIN;

-- A schema of this name that the API made is not ours, nor is anything in it. CREATE SCHEMA without IF NOT EXISTS: it
-- must not accept one that appears between the two statements.
SELECT format('ALTER SCHEMA $schema RENAME TO %I', '${schema}_' || gen_random_uuid())
  FROM pg_namespace WHERE nspname = '$schema' AND nspowner <> '$owner_role'::regrole \gexec
SELECT 'CREATE SCHEMA $schema AUTHORIZATION $owner_role'
 WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '$schema') \gexec

SET ROLE $owner_role;

CREATE TABLE IF NOT EXISTS $schema.mqtt_users (
    -- The broker denies every ACL check of a name with one of these characters.
    username      text        PRIMARY KEY CHECK (username <> '' AND username !~ '[/+#]'),
    password_hash text        NOT NULL,
    is_superuser  boolean     NOT NULL DEFAULT false,
    is_active     boolean     NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS $schema.mqtt_acls (
    id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text    NOT NULL REFERENCES $schema.mqtt_users ON UPDATE CASCADE ON DELETE CASCADE,
    topic    text    NOT NULL CHECK (topic <> ''),
    access   integer NOT NULL CHECK (access BETWEEN 1 AND 7),
    UNIQUE (username, topic)
);

-- The broker's plugin remembers a login under 'auth-NAME-PASSWORD' (mosquitto-go-auth, cache/cache.go): were there a
-- user a and a user a-b, then a with the password b-x would open a-b to the password x until that is forgotten.
CREATE OR REPLACE FUNCTION $schema.mqtt_users_keep_apart() RETURNS trigger LANGUAGE plpgsql
    -- Whoever writes has a search_path of their own, and perhaps a function of their own named like one of these.
    SET search_path = pg_catalog, pg_temp
    -- A plan made while the table was small would read all of it for every new user.
    SET enable_seqscan = off AS $$body$$
DECLARE
    beginnings text[] := ARRAY(
        SELECT left(NEW.username, i - 1)
          FROM generate_series(1, length(NEW.username)) AS i
         WHERE substr(NEW.username, i, 1) = '-');
    other text;
BEGIN
    -- One at a time: two that came at once would not see each other.
    PERFORM pg_advisory_xact_lock('$schema.mqtt_users'::regclass::oid::bigint);
    SELECT taken INTO other
      FROM (SELECT username FROM $schema.mqtt_users
             -- The locale sorts by code point, in which '.' follows upon '-'.
             WHERE username >= NEW.username || '-' AND username < NEW.username || '.'
             UNION ALL
            SELECT username FROM $schema.mqtt_users WHERE username = ANY (beginnings)) AS names (taken)
     WHERE taken IS DISTINCT FROM OLD.username
     LIMIT 1;
    IF FOUND THEN
        RAISE check_violation USING MESSAGE = format(
            'mqtt_users.username: %L and %L cannot both be, the one being the other up to a "-"; choose another name',
            NEW.username, other);
    END IF;
    RETURN NEW;
END
$$body$$;
REVOKE ALL ON FUNCTION $schema.mqtt_users_keep_apart() FROM PUBLIC;

-- Not CREATE OR REPLACE, which waits for everybody who is writing.
SELECT 'CREATE TRIGGER keep_apart BEFORE INSERT OR UPDATE OF username ON $schema.mqtt_users'
       ' FOR EACH ROW EXECUTE FUNCTION $schema.mqtt_users_keep_apart()'
 WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = '$schema.mqtt_users'::regclass AND tgname = 'keep_apart')
\gexec

-- Neither TRIGGER nor REFERENCES for the API: by both, what it creates would run when the rows below are written.
REVOKE ALL ON $schema.mqtt_users, $schema.mqtt_acls FROM PUBLIC, $api_role, $broker_role, $exporter_role;
GRANT USAGE ON SCHEMA $schema TO $api_role, $broker_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON $schema.mqtt_users, $schema.mqtt_acls TO $api_role;
GRANT SELECT ON $schema.mqtt_users, $schema.mqtt_acls TO $broker_role;

RESET ROLE;

-- What the API's migrations need. Last, so that on a new server it finds the name $schema taken.
CREATE SCHEMA IF NOT EXISTS public;
GRANT USAGE, CREATE ON SCHEMA public TO $api_role;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE $database TO $api_role;

COMMIT;

-- Rows of the API may be in the way of ours: a user $mqtt_api_user-x, a lock, a number that is taken. The server starts
-- all the same and says so, in one line. An error of class 42 is no row's doing but a mistake in this script.
SET ROLE $owner_role;
DO $$body$$
DECLARE
    first record;
BEGIN
    FOR first IN
        VALUES ('$mqtt_api_user', '$mqtt_api_hash', true, NULL, NULL),
               ('$mqtt_exporter_user', '$mqtt_exporter_hash', false, '$$SYS/#', 5),
               ('$mqtt_probe_user', '$mqtt_probe_hash', false, '$mqtt_probe_topic', 7)
    LOOP
        BEGIN
            INSERT INTO $schema.mqtt_users (username, password_hash, is_superuser)
            VALUES (first.column1, first.column2, first.column3)
                ON CONFLICT (username) DO UPDATE
               SET password_hash = excluded.password_hash, is_superuser = excluded.is_superuser, is_active = true;

            INSERT INTO $schema.mqtt_acls (username, topic, access)
            SELECT first.column1, first.column4, first.column5 WHERE first.column4 IS NOT NULL
                ON CONFLICT (username, topic) DO UPDATE SET access = excluded.access;
        EXCEPTION WHEN OTHERS THEN
            IF SQLSTATE LIKE '42%' THEN
                RAISE;
            END IF;
            RAISE WARNING 'the broker''s own user % could not be written: %',
                first.column1, regexp_replace(SQLERRM, '[[:cntrl:]]', ' ', 'g');
        END;
    END LOOP;
END
$$body$$;
""")

# For databases of the time when the API owned the tables, then in public, and the database. To move the tables would
# bring along what the API may have attached: triggers, rules, policies, defaults, index expressions; even a SELECT runs
# some of these. So the rows are copied, by the API role itself in a session of its own: what runs has its rights, and
# it may write all these rows anyway. One transaction; the old tables keep their rows under another name, so that
# mqtt_users means the new one. The first users are there already.
_ADOPTION: Final = Template(r"""\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET search_path = pg_catalog, pg_temp;
DO $$body$$
DECLARE
    old     record;
    refused bigint := 0;
    reason  text;
BEGIN
    IF to_regclass('public.mqtt_users') IS NULL THEN
        RETURN;
    END IF;
    LOCK TABLE public.mqtt_users, public.mqtt_acls;
    FOR old IN SELECT username, password_hash, is_superuser, is_active, created_at FROM public.mqtt_users LOOP
        BEGIN
            INSERT INTO $schema.mqtt_users (username, password_hash, is_superuser, is_active, created_at)
            VALUES (old.username, old.password_hash, old.is_superuser, old.is_active, old.created_at)
                ON CONFLICT DO NOTHING;
            INSERT INTO $schema.mqtt_acls (username, topic, access)
            SELECT username, topic, access FROM public.mqtt_acls WHERE username = old.username ORDER BY id
                ON CONFLICT DO NOTHING;
        EXCEPTION WHEN OTHERS THEN
            refused := refused + 1;
            reason := SQLERRM;
        END;
    END LOOP;
    REVOKE ALL ON public.mqtt_users, public.mqtt_acls FROM $broker_role;
    ALTER TABLE public.mqtt_users RENAME TO mqtt_users_old;
    ALTER TABLE public.mqtt_acls RENAME TO mqtt_acls_old;
    IF refused > 0 THEN
        RAISE WARNING '% users stay behind in public.mqtt_users_old, the last one because: %', refused, reason;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'the users of the broker in public.mqtt_users were not taken over: %', SQLERRM;
END
$$body$$;
""")

_NAMES: Final = {
    "database": DATABASE,
    "schema": SCHEMA,
    "owner_role": OWNER_ROLE,
    "api_role": API_ROLE,
    "broker_role": BROKER_ROLE,
    "exporter_role": EXPORTER_ROLE,
    "mqtt_api_user": MQTT_API_USER,
    "mqtt_exporter_user": MQTT_EXPORTER_USER,
    "mqtt_probe_user": MQTT_PROBE_USER,
    "mqtt_probe_topic": MQTT_PROBE_TOPIC,
    "no_attributes": "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
}


def sql(credentials: Credentials) -> str:
    """Return the psql script for the superuser; the values cannot break out of their quotes, see Credentials."""
    return _SCRIPT.substitute(
        _NAMES,
        postgres_password=credentials.postgres_password,
        api_db_password=credentials.api_db_password,
        broker_db_password=credentials.broker_db_password,
        exporter_db_password=credentials.exporter_db_password,
        mqtt_api_hash=credentials.mqtt_api_password_hash,
        mqtt_exporter_hash=credentials.mqtt_exporter_password_hash,
        mqtt_probe_hash=credentials.mqtt_probe_password_hash,
    )


def adoption_sql() -> str:
    """Return the psql script that the API role runs after that of the superuser; it may fail."""
    return _ADOPTION.substitute(_NAMES)
