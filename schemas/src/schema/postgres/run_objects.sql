-- Relations, functions, types, publications and schemas, except those of extensions: kind and name as in DROP, and comment.
-- Ends inside WHERE, so that a caller can append a condition.
SELECT kind, name, quoted, comment, parent FROM (
    SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
                          WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
           CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END AS name,
           format('%I.%I', n.nspname, c.relname) AS quoted,
           obj_description(c.oid, 'pg_class') AS comment,
           (SELECT p.relname::text FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
            WHERE i.inhrelid = c.oid LIMIT 1) AS parent,
           c.xmin = pg_current_xact_id_if_assigned()::xid AS created_now
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT CASE p.prokind WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
           p.oid::regprocedure::text, p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc'), NULL,
           p.xmin = pg_current_xact_id_if_assigned()::xid
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'TYPE', t.oid::regtype::text, t.oid::regtype::text, obj_description(t.oid, 'pg_type'), NULL,
           t.xmin = pg_current_xact_id_if_assigned()::xid
    FROM pg_type t
    JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e', 'r')
      AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'PUBLICATION', p.pubname::text, quote_ident(p.pubname), obj_description(p.oid, 'pg_publication'), NULL,
           p.xmin = pg_current_xact_id_if_assigned()::xid
    FROM pg_publication p
    UNION ALL
    SELECT 'SCHEMA', n.nspname::text, quote_ident(n.nspname), obj_description(n.oid, 'pg_namespace'), NULL,
           n.xmin = pg_current_xact_id_if_assigned()::xid
    FROM pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'public')
) objects
WHERE true
