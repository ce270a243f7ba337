-- Who to be at assets: sealed as one JSON text, opened only by a server that has the master key. `name` is null for one that
-- belongs to a single asset; the named ones may be used by many.
create table if not exists credential (
    credential_id char(32) character set ascii collate ascii_bin not null primary key,
    name varchar(50) null,
    name_key varchar(150) character set utf8mb4 collate utf8mb4_bin null,
    user_name varchar(100) not null default '',
    sealed blob not null,
    created_at datetime(6) not null default current_timestamp(6),
    created_by varchar(50) not null default '',
    modified_at datetime(6) null,
    modified_by varchar(50) not null default '',
    row_version int unsigned not null default 0,
    unique key credential_name (name_key)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
