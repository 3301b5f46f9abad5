-- The facts that `check` compares: one object and its definition per row.
SELECT * FROM
(
    SELECT concat('table ', name) AS object,
           replaceAll(concat(engine_full, if(as_select = '', '', concat(' AS ', as_select))), concat(database, '.'), '') AS definition
    FROM system.tables
    WHERE database = currentDatabase() AND engine NOT LIKE '%View'
    UNION ALL
    SELECT concat('view ', name),
           replaceAll(replaceAll(replaceOne(create_table_query, if(comment = '', '', concat(' COMMENT \'', comment, '\'')), ''),
                                 concat(database, '.'), ''), '`', '')
    FROM system.tables
    WHERE database = currentDatabase() AND engine LIKE '%View'
    UNION ALL
    SELECT concat('column ', table, '.', name),
           trimRight(concat(type, ' ', default_kind, ' ', default_expression, ' ', compression_codec))
    FROM system.columns
    WHERE database = currentDatabase() AND table IN
        (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View')
    UNION ALL
    SELECT concat('index ', table, '.', name), concat(expr, ' ', type_full, ' ', toString(granularity))
    FROM system.data_skipping_indices
    WHERE database = currentDatabase()
    UNION ALL
    SELECT concat('projection ', table, '.', name), replaceRegexpAll(query, '\\s+', ' ')
    FROM system.projections
    WHERE database = currentDatabase()
)
ORDER BY object
