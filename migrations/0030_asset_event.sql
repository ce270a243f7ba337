-- Each change of an asset's state, so that its history needs no row for each check.
create table if not exists asset_event (
    asset_event_id bigint unsigned not null auto_increment primary key,
    asset_id int unsigned not null,
    at datetime(6) not null default current_timestamp(6),
    was varchar(10) character set ascii collate ascii_bin not null,
    state varchar(10) character set ascii collate ascii_bin not null,
    reason varchar(1000) not null default '',
    install_id char(32) character set ascii collate ascii_bin not null default '',
    key asset_event_of_asset (asset_id, at),
    key asset_event_at (at),
    constraint asset_event_of_asset foreign key (asset_id) references asset (asset_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
