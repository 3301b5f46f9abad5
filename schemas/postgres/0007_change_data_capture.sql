-- What Debezium reads: rows of a partition arrive under the name of their parent. The primary key is the replica identity.
-- run as: owner
CREATE PUBLICATION sluice_cdc FOR TABLE customers, campaigns, communications
    WITH (publish_via_partition_root = true);
