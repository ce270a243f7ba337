-- Ways to tell somebody that an asset is down or up again: webhooks and e-mail, for one group or all. What gives access, the
-- address of a webhook included, is sealed in `secret`; `target` is what pages may show of it.
create table if not exists notice_channel (
    channel_id int unsigned not null auto_increment primary key,
    name varchar(50) not null,
    name_key varchar(150) character set utf8mb4 collate utf8mb4_bin not null,
    kind varchar(20) character set ascii collate ascii_bin not null,
    target text not null,
    settings mediumtext not null,
    secret varbinary(8000) null,
    group_id int unsigned null,
    is_on tinyint unsigned not null default 1,
    created_at datetime(6) not null default current_timestamp(6),
    created_by varchar(50) not null default '',
    modified_at datetime(6) null,
    modified_by varchar(50) not null default '',
    row_version int unsigned not null default 0,
    unique key notice_channel_name (name_key),
    key notice_channel_group (group_id),
    constraint notice_channel_of_group foreign key (group_id) references asset_group (group_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
