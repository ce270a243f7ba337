-- Named sets of assets. `name_key` is the name as it is compared: lower case, whatever the database's collation thinks
-- of accents. `default_one` is 1 for the group that assets are in when nobody says otherwise; its key allows one.
create table if not exists asset_group (
    group_id int unsigned not null auto_increment primary key,
    name varchar(50) not null,
    name_key varchar(150) character set utf8mb4 collate utf8mb4_bin not null,
    default_one tinyint unsigned null,
    created_at datetime(6) not null default current_timestamp(6),
    created_by varchar(50) not null default '',
    modified_at datetime(6) null,
    modified_by varchar(50) not null default '',
    row_version int unsigned not null default 0,
    unique key asset_group_name (name_key),
    unique key asset_group_default_one (default_one)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
