-- Messages on their way: one for each channel that is to be told. `turn` counts those of one subject at one channel, so that
-- of two that are written at once one counts. A server that sends one holds it until `claimed_until`.
create table if not exists notice (
    notice_id bigint unsigned not null auto_increment primary key,
    channel_id int unsigned not null,
    subject varchar(100) character set ascii collate ascii_bin not null,
    turn int unsigned not null,
    event varchar(10) character set ascii collate ascii_bin not null,
    body text not null,
    state varchar(10) character set ascii collate ascii_bin not null default 'waiting',
    created_at datetime(6) not null default current_timestamp(6),
    due_at datetime(6) not null default current_timestamp(6),
    tries int unsigned not null default 0,
    last_error text not null,
    ended_at datetime(6) null,
    claimed_by char(32) character set ascii collate ascii_bin null,
    claimed_until datetime(6) null,
    unique key notice_turn (subject, channel_id, turn),
    key notice_due (state, due_at),
    key notice_of_channel (channel_id, notice_id),
    key notice_created (created_at),
    constraint notice_for_channel foreign key (channel_id) references notice_channel (channel_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
