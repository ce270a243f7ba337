-- The state of a cluster that the audit trail told last. It decides nothing: the state itself is computed when it is read.
alter table cluster add column told_state varchar(20) character set ascii collate ascii_bin not null default ''
