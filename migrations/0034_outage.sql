-- Clusters that do not answer and groups that nobody watches, while they are so and have been told of: their subjects in
-- `notice`. Whoever adds or deletes a row tells, in the same transaction. Of many groups at once one message tells, whose
-- subject is `told_as`. The row without a subject says when a server looked last, so that of all servers one looks at a time.
create table if not exists outage (
    subject varchar(100) character set ascii collate ascii_bin not null primary key,
    told_as varchar(100) character set ascii collate ascii_bin not null default '',
    at datetime(6) not null default current_timestamp(6),
    key outage_told_as (told_as)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
