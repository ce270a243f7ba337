-- Connections that somebody wants tested before saving. Whoever owns the group takes one by writing a claim of its own, while
-- it is younger than half a minute, looks, and leaves its report. What is secret about it is sealed, and gone once it is taken.
create table if not exists asset_trial (
    trial_id char(32) character set ascii collate ascii_bin not null primary key,
    kind varchar(10) character set ascii collate ascii_bin not null,
    address varchar(255) character set utf8mb4 collate utf8mb4_bin not null,
    group_id int unsigned not null,
    settings text not null,
    credential_id char(32) character set ascii collate ascii_bin null,
    sealed mediumblob null,
    pin varchar(200) not null default '',
    timeout_s int unsigned not null,
    asked_at datetime(6) not null default current_timestamp(6),
    asked_by char(32) character set ascii collate ascii_bin not null,
    claim char(32) character set ascii collate ascii_bin not null default '',
    taken_by char(32) character set ascii collate ascii_bin not null default '',
    taken_at datetime(6) null,
    ended_at datetime(6) null,
    report mediumtext null,
    key asset_trial_open (group_id, claim, asked_at),
    key asset_trial_account (asked_by, asked_at),
    key asset_trial_asked (asked_at),
    constraint asset_trial_of_group foreign key (group_id) references asset_group (group_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
