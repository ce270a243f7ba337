-- Units of work, each bound to one cluster, or, while it is being moved, to none. `name_key` is the name as it is compared.
create table if not exists workspace (
    workspace_id varchar(32) character set ascii collate ascii_bin not null primary key,
    name varchar(50) not null,
    name_key varchar(150) character set utf8mb4 collate utf8mb4_bin not null,
    description varchar(200) not null default '',
    folder varchar(50) not null default '',
    install_id char(32) character set ascii collate ascii_bin null,
    created_at datetime(6) not null default current_timestamp(6),
    created_by varchar(50) not null default '',
    modified_at datetime(6) null,
    modified_by varchar(50) not null default '',
    row_version int unsigned not null default 0,
    unique key workspace_name (name_key),
    key workspace_cluster (install_id, name_key),
    constraint workspace_of_cluster foreign key (install_id) references cluster (install_id) on delete set null
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
