-- Codes that stand in once for a lost second factor. Only hashes are here.
create table if not exists recovery_code (
    account_id char(32) character set ascii collate ascii_bin not null,
    code_hash char(64) character set ascii collate ascii_bin not null,
    created_at datetime(6) not null default current_timestamp(6),
    used_at datetime(6) null,
    primary key (account_id, code_hash),
    constraint recovery_code_of_account foreign key (account_id) references account (account_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
