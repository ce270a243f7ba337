-- Where somebody went last.
alter table jump add key jump_target (account_id, target_install_id, created_at)
