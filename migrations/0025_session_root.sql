-- The first session of those that came from each other by switching clusters: they end together. Empty for its own.
alter table session add column root_id char(32) character set ascii collate ascii_bin not null default '', add key session_root (root_id)
