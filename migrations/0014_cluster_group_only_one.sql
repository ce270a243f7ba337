-- A system that already runs with a single cluster goes on as before: it watches everything.
insert ignore into cluster_group (group_id, install_id)
select g.group_id, c.install_id from asset_group g
join (select min(install_id) as install_id from cluster where removed_at is null having count(*) = 1) c
