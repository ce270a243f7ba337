-- What was given: a workspace, or a group with its places then; `heir_position` is that of the cluster that got it, if it stood there.
create table if not exists handover_item (
    handover_id char(32) character set ascii collate ascii_bin not null,
    kind varchar(9) character set ascii collate ascii_bin not null,
    object_id varchar(32) character set ascii collate ascii_bin not null,
    position int unsigned null,
    heir_position int unsigned null,
    primary key (handover_id, kind, object_id),
    constraint handover_item_of foreign key (handover_id) references handover (handover_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
