-- Hourly results of campaigns as states that merge: an average of averages would be wrong, and of two quantiles the
-- last would win. The target has a dedup window of its own, or a repeated insert would count twice here.
CREATE TABLE IF NOT EXISTS campaign_performance
(
    tenant_id         UUID,
    campaign_id       UUID,
    channel           LowCardinality(String),
    hour              DateTime('UTC'),
    total_events      SimpleAggregateFunction(sum, UInt64),
    successful_events SimpleAggregateFunction(sum, UInt64),
    avg_duration      AggregateFunction(avg, UInt32),
    p95_duration      AggregateFunction(quantileTDigest(0.95), UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant_id, campaign_id, channel, hour)
TTL hour + INTERVAL 7 YEAR
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS campaign_performance_mv TO campaign_performance AS
SELECT
    tenant_id,
    campaign_id,
    channel,
    toStartOfHour(timestamp) AS hour,
    count() AS total_events,
    countIf(success) AS successful_events,
    avgState(duration_ms) AS avg_duration,
    quantileTDigestState(0.95)(duration_ms) AS p95_duration
FROM communication_events
GROUP BY tenant_id, campaign_id, channel, hour;
