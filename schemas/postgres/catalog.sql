-- The facts that `check` compares: one object and its definition per row. partitions.sql reads the partitions.
SELECT object, definition FROM (
    SELECT 'column ' || c.relname || '.' || a.attname AS object,
           format_type(a.atttypid, a.atttypmod)
               || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
               || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') AS definition
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    UNION ALL
    SELECT 'index ' || i.relname,
           pg_get_indexdef(i.oid) || CASE WHEN x.indisvalid THEN '' ELSE ' INVALID' END
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_class c ON c.oid = x.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
    UNION ALL
    SELECT 'constraint ' || c.relname || '.' || k.conname,
           pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' NOT VALID' END
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND k.conparentid = 0 AND k.contype <> 'n'
    UNION ALL
    SELECT 'policy ' || c.relname || '.' || p.polname,
           concat_ws(' ', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, p.polcmd, p.polroles,
                     'USING', pg_get_expr(p.polqual, c.oid), 'WITH CHECK', pg_get_expr(p.polwithcheck, c.oid))
    FROM pg_policy p
    JOIN pg_class c ON c.oid = p.polrelid
    WHERE NOT c.relispartition
    UNION ALL
    SELECT 'row-level security ' || c.relname,
           CASE WHEN c.relrowsecurity THEN 'enabled' ELSE 'disabled' END
               || CASE WHEN c.relforcerowsecurity THEN ' and forced' ELSE '' END
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    UNION ALL
    SELECT 'grants on ' || c.relname || ' to ' || CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END,
           string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND a.grantee <> c.relowner
    GROUP BY c.relname, a.grantee
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure,
           concat_ws(' ', CASE WHEN p.prosecdef THEN 'security definer' END, array_to_string(p.proconfig, ' '),
                     md5(p.prosrc), 'for', (SELECT string_agg(CASE a.grantee WHEN 0 THEN 'public'
                                                             ELSE a.grantee::regrole::text END, ', ' ORDER BY a.grantee)
                                            FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner))
    FROM pg_proc p
    JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'public'::regnamespace AND l.lanname = 'plpgsql'
    UNION ALL
    SELECT 'operator @> (jsonb)', CASE WHEN proleakproof THEN 'leakproof' ELSE 'not leakproof' END
    FROM pg_proc WHERE oid = 'pg_catalog.jsonb_contains(jsonb, jsonb)'::regprocedure
    UNION ALL
    SELECT 'publication ' || p.pubname,
           (SELECT string_agg(r.prrelid::regclass::text, ', ' ORDER BY r.prrelid::regclass::text)
            FROM pg_publication_rel r WHERE r.prpubid = p.oid)
               || CASE WHEN p.pubviaroot THEN ' via the root' ELSE '' END
               || concat_ws(' ', '', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                            CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END)
    FROM pg_publication p
    UNION ALL
    SELECT 'role ' || r.rolname,
           concat_ws(' ', CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
                     CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                     CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END)
    FROM pg_database d, aclexplode(d.datacl) a
    JOIN pg_roles r ON r.oid = a.grantee
    WHERE d.datname = current_database() AND a.privilege_type = 'CONNECT'
) facts
ORDER BY object COLLATE "C"
