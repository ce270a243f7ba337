-- Tries to sign in lately that were not right, or not yet, by account, by client address and by browser known to an account. Subjects are hashed: what
-- strangers type as a name may be a password.
create table if not exists sign_in_miss (
    subject char(64) character set ascii collate ascii_bin not null primary key,
    misses int unsigned not null default 0,
    missed_at datetime(6) not null default current_timestamp(6),
    key sign_in_miss_at (missed_at)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
