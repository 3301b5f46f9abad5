-- A tenant sees and writes its own rows only. Without app.current_tenant_id, or with an empty one (what a pooled
-- connection is left with after SET LOCAL), the comparison is with NULL: no rows.
-- run as: owner
ALTER TABLE customers      ENABLE ROW LEVEL SECURITY;
ALTER TABLE customers      FORCE  ROW LEVEL SECURITY;
ALTER TABLE campaigns      ENABLE ROW LEVEL SECURITY;
ALTER TABLE campaigns      FORCE  ROW LEVEL SECURITY;
ALTER TABLE communications ENABLE ROW LEVEL SECURITY;
ALTER TABLE communications FORCE  ROW LEVEL SECURITY;

CREATE POLICY tenant_isolation_customers ON customers
    USING      (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid);

CREATE POLICY tenant_isolation_campaigns ON campaigns
    USING      (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid);

CREATE POLICY tenant_isolation_communications ON communications
    USING      (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid);
