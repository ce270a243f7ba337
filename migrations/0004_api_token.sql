-- Keys with which programs act for a person, with that person's role or a lesser one. Only the hash is here.
create table if not exists api_token (
    token_id char(32) character set ascii collate ascii_bin not null primary key,
    token_hash char(64) character set ascii collate ascii_bin not null,
    account_id char(32) character set ascii collate ascii_bin not null,
    name varchar(50) not null,
    role varchar(20) character set ascii collate ascii_bin not null default 'member',
    created_at datetime(6) not null default current_timestamp(6),
    expires_at datetime(6) not null default '2000-01-01',
    used_at datetime(6) null,
    used_address varchar(45) character set ascii collate ascii_bin not null default '',
    unique key api_token_hash (token_hash),
    key api_token_account (account_id, created_at),
    constraint api_token_of_account foreign key (account_id) references account (account_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
