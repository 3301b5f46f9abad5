-- Under row-level security only a leakproof operator may run before the policy, so `profile_data @> ...` could never use
-- its GIN index. jsonb_contains tells nothing about a row but its result; only a superuser may say so.
-- run as: superuser
ALTER FUNCTION pg_catalog.jsonb_contains(jsonb, jsonb) LEAKPROOF;
