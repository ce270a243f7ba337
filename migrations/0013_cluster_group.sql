-- Which clusters watch a group, in order: the lowest position is the primary, the others stand by. A removed cluster
-- keeps its row in `cluster`, so whoever removes it takes its rows here along.
create table if not exists cluster_group (
    group_id int unsigned not null,
    install_id char(32) character set ascii collate ascii_bin not null,
    position int unsigned not null default 1,
    primary key (group_id, install_id),
    unique key cluster_group_position (group_id, position),
    key cluster_group_cluster (install_id),
    constraint cluster_group_of_group foreign key (group_id) references asset_group (group_id) on delete cascade,
    constraint cluster_group_of_cluster foreign key (install_id) references cluster (install_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
