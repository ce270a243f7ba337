-- Who answers at a cluster's address: as its own server sees it (`own`), and as another one does (`peer`).
create table if not exists address_check (
    install_id char(32) character set ascii collate ascii_bin not null,
    kind varchar(4) character set ascii collate ascii_bin not null,
    address varchar(255) not null,
    checker_id char(32) character set ascii collate ascii_bin not null,
    outcome varchar(20) character set ascii collate ascii_bin not null default 'running',
    answered_id char(32) character set ascii collate ascii_bin not null default '',
    detail varchar(200) not null default '',
    checked_at datetime(6) not null default current_timestamp(6),
    primary key (install_id, kind),
    key address_check_at (kind, checked_at),
    constraint address_check_of_cluster foreign key (install_id) references cluster (install_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
