-- The role of whoever set the address: nobody's sign-in is sent to an address that somebody with fewer rights chose.
alter table cluster add column address_role varchar(16) character set ascii collate ascii_bin not null default ''
