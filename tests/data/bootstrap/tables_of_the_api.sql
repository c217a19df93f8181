\set ON_ERROR_STOP on
-- Neither this output nor the server's log may quote a statement with a password in it.
\set VERBOSITY terse
SET log_min_error_statement = panic;
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I', role)
  FROM unnest(ARRAY['api', 'broker', 'exporter']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE api LOGIN PASSWORD 'fake-api-database-password';
ALTER ROLE broker LOGIN PASSWORD 'fake-broker-database-password';
ALTER ROLE exporter LOGIN PASSWORD 'fake-exporter-database-password';
GRANT pg_monitor TO exporter;

SELECT 'CREATE DATABASE iotistic OWNER api'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'iotistic') \gexec
REVOKE ALL ON DATABASE iotistic FROM PUBLIC;
GRANT CONNECT ON DATABASE iotistic TO broker, exporter;

\connect iotistic
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
CREATE OR REPLACE FUNCTION public.mqtt_users_keep_apart() RETURNS trigger LANGUAGE plpgsql AS $body$
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
$body$;
CREATE OR REPLACE TRIGGER keep_apart BEFORE INSERT OR UPDATE OF username ON public.mqtt_users
    FOR EACH ROW EXECUTE FUNCTION public.mqtt_users_keep_apart();

ALTER FUNCTION public.mqtt_users_keep_apart() OWNER TO api;
ALTER TABLE public.mqtt_users OWNER TO api;
ALTER TABLE public.mqtt_acls OWNER TO api;
GRANT SELECT ON public.mqtt_users, public.mqtt_acls TO broker;

INSERT INTO public.mqtt_users (username, password_hash, is_superuser)
VALUES ('api', '$2b$04$FakeHashOfTheApi.....................................', true),
       ('exporter', '$2b$04$FakeHashOfTheExporter................................', false)
    ON CONFLICT (username) DO UPDATE
   SET password_hash = excluded.password_hash, is_superuser = excluded.is_superuser, is_active = true;

INSERT INTO public.mqtt_acls (username, topic, access)
VALUES ('exporter', '$SYS/#', 5)
    ON CONFLICT (username, topic) DO UPDATE SET access = excluded.access;

COMMIT;
