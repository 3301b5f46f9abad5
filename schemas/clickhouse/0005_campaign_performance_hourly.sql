-- The states of campaign_performance, merged: what a dashboard reads.
CREATE VIEW IF NOT EXISTS campaign_performance_hourly AS
SELECT
    tenant_id,
    campaign_id,
    channel,
    hour,
    sum(total_events) AS total_events,
    sum(successful_events) AS successful_events,
    avgMerge(avg_duration) AS avg_duration,
    quantileTDigestMerge(0.95)(p95_duration) AS p95_duration
FROM campaign_performance
GROUP BY tenant_id, campaign_id, channel, hour;
