-- Sign-ins that are still good. Only the hash of the cookie is here. `pending` waits for the second factor.
create table if not exists session (
    token_hash char(64) character set ascii collate ascii_bin not null primary key,
    session_id char(32) character set ascii collate ascii_bin not null,
    account_id char(32) character set ascii collate ascii_bin not null,
    install_id char(32) character set ascii collate ascii_bin not null,
    pending tinyint unsigned not null default 0,
    address varchar(45) character set ascii collate ascii_bin not null default '',
    agent varchar(255) not null default '',
    created_at datetime(6) not null default current_timestamp(6),
    seen_at datetime(6) not null default current_timestamp(6),
    expires_at datetime(6) not null default '2000-01-01',
    unique key session_id (session_id),
    key session_account (account_id),
    key session_expires (expires_at),
    key session_seen (seen_at),
    constraint session_of_account foreign key (account_id) references account (account_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
