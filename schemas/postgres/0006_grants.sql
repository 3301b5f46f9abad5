-- Least privilege, on the parents alone: a partition is reached through its parent, where the policies are.
-- run as: owner
REVOKE ALL ON DATABASE ${database} FROM PUBLIC;
GRANT CONNECT ON DATABASE ${database} TO ${app}, ${cdc}, ${loader}, ${reader};
GRANT USAGE ON SCHEMA public TO ${app}, ${cdc}, ${loader}, ${reader};
GRANT SELECT, INSERT, UPDATE, DELETE ON customers, campaigns, communications TO ${app};
GRANT SELECT ON customers, campaigns, communications TO ${cdc}, ${reader};
GRANT SELECT, INSERT ON customers, campaigns, communications TO ${loader};
GRANT EXECUTE ON FUNCTION ensure_partitions(date, date) TO ${loader};
