-- The workspace that always exists; a system that already runs with a single cluster binds it there.
insert ignore into workspace (workspace_id, name, name_key, description, install_id)
select 'DEFAULT', '默认', '默认', '系统默认的工作空间,不能删除',
    (select if(count(*) = 1, min(install_id), null) from cluster where removed_at is null)
