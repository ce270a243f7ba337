-- Which master key seals the secrets of this database: its fingerprint, never the key itself. One row.
create table if not exists seal_key (
    slot tinyint unsigned not null default 1 primary key,
    fingerprint char(16) character set ascii collate ascii_bin not null,
    changed_at datetime(6) not null default current_timestamp(6)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
