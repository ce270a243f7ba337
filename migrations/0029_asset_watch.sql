-- When each asset is due and what the last check said: the part that changes all the time. Whoever checks one puts `due_at`
-- on and writes a claim of its own, by which its result is known; without the claim a result is late and dropped. The group
-- follows the asset's by its key. Those that do not answer in time are slow, and wait in a queue of their own.
create table if not exists asset_watch (
    asset_id int unsigned not null primary key,
    group_id int unsigned not null,
    interval_s int unsigned not null default 30,
    due_at datetime(6) not null default current_timestamp(6),
    is_slow tinyint unsigned not null default 0,
    claim char(32) character set ascii collate ascii_bin not null default '',
    checked_at datetime(6) null,
    checked_by char(32) character set ascii collate ascii_bin not null default '',
    latency_us int unsigned null,
    misses int unsigned not null default 0,
    latencies varchar(600) character set ascii collate ascii_bin not null default '',
    facts text null,
    key asset_watch_due (group_id, is_slow, due_at),
    key asset_watch_of_asset (asset_id, group_id),
    constraint asset_watch_of_asset foreign key (asset_id, group_id) references asset (asset_id, group_id)
        on delete cascade on update cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
