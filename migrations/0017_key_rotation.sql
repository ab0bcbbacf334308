-- A key that has a successor works until its moment comes.
alter table views.key_list
    add column successor uuid,
    add column stops_at timestamptz,
    add constraint key_list_rotation_whole check ((successor is null) = (stops_at is null));

-- Asked every second by the sweeper: the few keys whose end is still to come.
create index key_list_stopping_idx on views.key_list (stops_at) where stops_at is not null and deleted_at is null;
