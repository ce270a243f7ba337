-- Jumps from one cluster's console to another's. The code is used once, within seconds; the row stays a while and tells where
-- somebody went last.
create table if not exists jump (
    code_hash char(64) character set ascii collate ascii_bin not null primary key,
    account_id char(32) character set ascii collate ascii_bin not null,
    session_id char(32) character set ascii collate ascii_bin not null,
    source_install_id char(32) character set ascii collate ascii_bin not null,
    target_install_id char(32) character set ascii collate ascii_bin not null,
    created_at datetime(6) not null default current_timestamp(6),
    expires_at datetime(6) not null,
    used_at datetime(6) null,
    key jump_account (account_id, created_at),
    key jump_created (created_at),
    constraint jump_of foreign key (account_id) references account (account_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
