-- Everything of one cluster given to another in one go, so that it can be taken back.
create table if not exists handover (
    handover_id char(32) character set ascii collate ascii_bin not null primary key,
    from_install_id char(32) character set ascii collate ascii_bin not null,
    to_install_id char(32) character set ascii collate ascii_bin not null,
    made_at datetime(6) not null default current_timestamp(6),
    made_by varchar(50) not null default '',
    undone_at datetime(6) null,
    undone_by varchar(50) not null default '',
    key handover_made (made_at)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
