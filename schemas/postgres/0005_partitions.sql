-- Monthly partitions of communications, made ahead of time by a function, and a default one for what nobody foresaw.
-- A parent's policies do not apply to a partition that is named directly, so each partition has row-level security
-- enabled and forced, no policy (nothing is visible) and no grants.
-- run as: owner
CREATE TABLE communications_default PARTITION OF communications DEFAULT;
ALTER TABLE communications_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE communications_default FORCE  ROW LEVEL SECURITY;

-- Makes the partitions of all months from `first` to `last`, both included, that do not exist; returns how many it made.
-- Rows of such a month that had gone to the default partition move over: deleted there and inserted again, so that
-- change data capture, which sees both, ends with the row alive.
CREATE FUNCTION ensure_partitions(first date, last date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $function$
DECLARE
    month  date := date_trunc('month', first);
    until  date;
    part   text;
    strays communications[];
    made   integer := 0;
BEGIN
    -- Two callers may want the same month.
    PERFORM pg_advisory_xact_lock(hashtext('sluice partitions'));
    WHILE month <= last LOOP
        part  := to_char(month, '"communications_y"YYYY"m"MM');
        until := month + interval '1 month';
        IF to_regclass(part) IS NULL THEN
            ALTER TABLE communications_default NO FORCE ROW LEVEL SECURITY;
            WITH moved AS (
                DELETE FROM communications_default
                WHERE created_at >= month::timestamp AT TIME ZONE 'UTC'
                  AND created_at <  until::timestamp AT TIME ZONE 'UTC'
                RETURNING id, tenant_id, customer_id, campaign_id, channel, direction, content, metadata, status, created_at
            )
            SELECT array_agg(moved::text::communications) INTO strays FROM moved;
            ALTER TABLE communications_default FORCE ROW LEVEL SECURITY;
            -- Attaching locks the parent less than CREATE TABLE ... PARTITION OF would.
            EXECUTE format('CREATE TABLE %I (LIKE communications INCLUDING DEFAULTS)', part);
            EXECUTE format('ALTER TABLE communications ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           part, month::timestamp AT TIME ZONE 'UTC', until::timestamp AT TIME ZONE 'UTC');
            IF strays IS NOT NULL THEN
                EXECUTE format('INSERT INTO %I SELECT * FROM unnest($1)', part) USING strays;
            END IF;
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE %I FORCE  ROW LEVEL SECURITY', part);
            made := made + 1;
        END IF;
        month := until;
    END LOOP;
    RETURN made;
END
$function$;
REVOKE EXECUTE ON FUNCTION ensure_partitions(date, date) FROM PUBLIC;
