-- Customers, campaigns and communications. Every key leads with the tenant, and so does every foreign key: a plain
-- REFERENCES customers(id) would accept another tenant's customer.
-- run as: owner
CREATE TABLE customers (
    id              uuid         NOT NULL DEFAULT gen_random_uuid(),
    tenant_id       uuid         NOT NULL,
    email           varchar(255) NOT NULL,
    phone           varchar(50),
    company_name    varchar(255),
    profile_data    jsonb        NOT NULL DEFAULT '{}',
    payment_history jsonb        NOT NULL DEFAULT '{}',
    preferences     jsonb        NOT NULL DEFAULT '{}',
    created_at      timestamptz  NOT NULL DEFAULT now(),
    updated_at      timestamptz  NOT NULL DEFAULT now(),
    is_active       boolean      NOT NULL DEFAULT true,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE campaigns (
    id               uuid         NOT NULL DEFAULT gen_random_uuid(),
    tenant_id        uuid         NOT NULL,
    name             varchar(255) NOT NULL,
    configuration    jsonb        NOT NULL,
    escalation_rules jsonb        NOT NULL,
    status           varchar(50)  NOT NULL DEFAULT 'DRAFT',
    created_at       timestamptz  NOT NULL DEFAULT now(),
    updated_at       timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id)
);

-- The primary key of a partitioned table must contain the partition key. It is the replica identity too, so that a
-- delete, as change data capture sees it, still says which tenant and which month.
CREATE TABLE communications (
    id          uuid        NOT NULL DEFAULT gen_random_uuid(),
    tenant_id   uuid        NOT NULL,
    customer_id uuid        NOT NULL,
    campaign_id uuid,
    channel     varchar(50) NOT NULL,
    direction   varchar(20) NOT NULL,
    content     jsonb       NOT NULL,
    metadata    jsonb       NOT NULL DEFAULT '{}',
    status      varchar(50) NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id, created_at),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customers (tenant_id, id),
    FOREIGN KEY (tenant_id, campaign_id) REFERENCES campaigns (tenant_id, id)
) PARTITION BY RANGE (created_at);
