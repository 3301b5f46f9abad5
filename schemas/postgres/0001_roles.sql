-- The roles. They belong to the whole server, so this file runs in the maintenance database, as the administrator,
-- whenever a role is missing; a role that exists keeps its password.
-- run as: admin
DO $roles$
DECLARE
    wanted record;
BEGIN
    -- Two namespaces may be applied at once, and a role can only be created by one of them.
    PERFORM pg_advisory_xact_lock(hashtext('sluice roles'));
    FOR wanted IN
        SELECT * FROM (VALUES
            (${owner},  ${owner_password},  'NOBYPASSRLS NOREPLICATION'),
            (${app},    ${app_password},    'NOBYPASSRLS NOREPLICATION'),
            (${cdc},    ${cdc_password},    'BYPASSRLS REPLICATION'),
            (${loader}, ${loader_password}, 'BYPASSRLS NOREPLICATION'),
            (${reader}, ${reader_password}, 'NOBYPASSRLS NOREPLICATION')
        ) AS roles (name, password, attributes)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE %s PASSWORD %L',
                           wanted.name, wanted.attributes, wanted.password);
        END IF;
    END LOOP;
END
$roles$;
