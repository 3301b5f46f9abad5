-- The ADR's indexes, made while the tables are empty. On a partitioned table that holds rows, CREATE INDEX CONCURRENTLY
-- fails: make the index ON ONLY the parent, concurrently on each partition, then attach (see docs/schemas.md).
-- run as: owner
CREATE UNIQUE INDEX customers_tenant_lower_email_key ON customers (tenant_id, lower(email));

CREATE INDEX idx_customers_tenant_email ON customers (tenant_id, email) WHERE is_active = true;

CREATE INDEX idx_communications_customer_created
    ON communications (tenant_id, customer_id, created_at DESC);

CREATE INDEX idx_communications_campaign_status
    ON communications (tenant_id, campaign_id, status, created_at DESC);

-- A value such as {"segment": "retail"} is common to all tenants; with the tenant in the index only its rows are read.
CREATE EXTENSION IF NOT EXISTS btree_gin;

CREATE INDEX idx_customers_profile_data_gin
    ON customers USING gin (tenant_id, profile_data jsonb_path_ops);

CREATE INDEX idx_communications_content_gin
    ON communications USING gin (tenant_id, content jsonb_path_ops);
