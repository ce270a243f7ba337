-- People who may sign in, on every server of this database. `first_one` is 1 for the account made at set-up; its key
-- keeps two servers from setting up twice.
create table if not exists account (
    account_id char(32) character set ascii collate ascii_bin not null primary key,
    name varchar(50) not null,
    display_name varchar(50) not null default '',
    role varchar(20) character set ascii collate ascii_bin not null default 'member',
    password_hash varchar(255) character set ascii collate ascii_bin not null default '',
    password_at datetime(6) null,
    totp_secret varbinary(255) null,
    totp_at datetime(6) null,
    totp_step bigint unsigned not null default 0,
    first_one tinyint unsigned null,
    signed_in_at datetime(6) null,
    disabled_at datetime(6) null,
    created_at datetime(6) not null default current_timestamp(6),
    created_by varchar(50) not null default '',
    modified_at datetime(6) null,
    modified_by varchar(50) not null default '',
    row_version int unsigned not null default 0,
    unique key account_name (name),
    unique key account_first_one (first_one)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
