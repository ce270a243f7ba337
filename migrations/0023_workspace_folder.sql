-- The folders in use are asked for by each list.
alter table workspace add key workspace_folder (folder)
