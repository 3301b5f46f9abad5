-- The partitions of communications: row-level security, policies, grants, bounds, and the parent's indexes without a valid
-- index on the partition.
SELECT c.relname AS partition,
       concat_ws(', ',
           CASE WHEN c.relrowsecurity THEN 'row-level security enabled' ELSE 'row-level security disabled' END,
           CASE WHEN c.relforcerowsecurity THEN 'forced' ELSE 'not forced' END,
           (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) || ' policies',
           (SELECT count(*) FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) || ' grants',
           'indexes without a valid part: ' || coalesce(
               (SELECT string_agg(parent.indexrelid::regclass::text, ' ' ORDER BY parent.indexrelid::regclass::text)
                FROM pg_index parent
                WHERE parent.indrelid = h.inhparent AND NOT EXISTS
                    (SELECT FROM pg_inherits ih JOIN pg_index x ON x.indexrelid = ih.inhrelid
                     WHERE ih.inhparent = parent.indexrelid AND x.indrelid = c.oid AND x.indisvalid)), 'none'),
           pg_get_expr(c.relpartbound, c.oid)) AS definition,
       pg_relation_size(c.oid) > 0 AS has_rows
FROM pg_inherits h
JOIN pg_class c ON c.oid = h.inhrelid
WHERE h.inhparent = 'communications'::regclass
ORDER BY c.relname
