-- From when on the last result is too old to be believed, as the pages say it, and the list by latency: each found along a key.
-- The two numbers are those of `view.rs`. The table is
-- copied for it, about two seconds for 100,000 assets, in which no result is written. An older server goes on without them.
alter table asset_watch
    add column stale_at datetime(6) as (checked_at + interval (interval_s * 3 + 30) second) stored,
    add key asset_watch_stale (stale_at),
    add key asset_watch_latency (latency_us)
