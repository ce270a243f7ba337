-- What people and servers did, and what they were refused. Written in the transaction of the change itself; rows are
-- only ever added, and deleted when they are older than the setting says.
create table if not exists audit (
    audit_id bigint unsigned not null auto_increment primary key,
    at datetime(6) not null default current_timestamp(6),
    account_id char(32) character set ascii collate ascii_bin not null default '',
    actor varchar(50) not null default '',
    role varchar(20) character set ascii collate ascii_bin not null default '',
    address varchar(45) character set ascii collate ascii_bin not null default '',
    install_id char(32) character set ascii collate ascii_bin not null default '',
    action varchar(50) character set ascii collate ascii_bin not null,
    object_kind varchar(20) character set ascii collate ascii_bin not null default '',
    object_id varchar(64) character set ascii collate ascii_bin not null default '',
    object_name varchar(255) not null default '',
    changes varchar(4000) not null default '',
    result varchar(10) character set ascii collate ascii_bin not null default 'done',
    key audit_account (account_id, audit_id),
    key audit_actor (actor, audit_id),
    key audit_action (action, audit_id),
    key audit_object (object_kind, object_id, audit_id),
    key audit_result (result, audit_id),
    key audit_at (at)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
