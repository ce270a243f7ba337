-- Fingerprints of the master keys each server has ('-' for none, empty while it has not said): before the key is changed
-- it can be seen who lacks the new one.
alter table cluster add column key_fingerprints varchar(255) character set ascii collate ascii_bin not null default ''
