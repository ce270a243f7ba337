-- Keys of the list of assets that were missing: each kind by name, which also counts a kind, and all in the order in which they
-- were added. Like the others they hold all that the list is filtered by. An older server goes on without them.
alter table asset
    add key asset_kind (kind, name_key, asset_id, state, group_id, paused_until, address),
    add key asset_created (asset_id, kind, state, group_id, paused_until, name_key, address)
