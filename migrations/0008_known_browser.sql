-- Browsers in which an account has signed in: their tries are counted apart, so that a stranger who guesses cannot slow
-- down the person. Only the hash of the cookie is here.
create table if not exists known_browser (
    token_hash char(64) character set ascii collate ascii_bin not null,
    account_id char(32) character set ascii collate ascii_bin not null,
    seen_at datetime(6) not null default current_timestamp(6),
    primary key (token_hash, account_id),
    key known_browser_account (account_id),
    key known_browser_seen (seen_at),
    constraint known_browser_of_account foreign key (account_id) references account (account_id) on delete cascade
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci
