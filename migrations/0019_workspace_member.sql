-- Who may use a workspace besides the admins, who may use all.
create table if not exists workspace_member (
    workspace_id varchar(32) character set ascii collate ascii_bin not null,
    account_id char(32) character set ascii collate ascii_bin not null,
    added_at datetime(6) not null default current_timestamp(6),
    added_by varchar(50) not null default '',
    primary key (workspace_id, account_id),
    key workspace_member_account (account_id),
    constraint workspace_member_of foreign key (workspace_id) references workspace (workspace_id) on delete cascade,
    constraint workspace_member_is foreign key (account_id) references account (account_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
