-- The default group has one name for readers of all languages; people may rename it.
insert ignore into asset_group (group_id, name, name_key, default_one) values (1, '默认', '默认', 1)
