-- The head only moves forward, as before; but whether it does is asked where the trigger stands, and the function is called
-- for what it refuses alone. Every append moves the head.
drop trigger log_head_moves_forward on log_head;
create trigger log_head_moves_forward before update on log_head
    for each row when (new.position < old.position or new.shard <> old.shard) execute function refuse_backward_head();
create trigger log_head_stays before delete on log_head
    for each row execute function refuse_backward_head();
-- Nor is it emptied, which was not refused to its owner.
create trigger log_head_is_never_truncated before truncate on log_head
    for each statement execute function refuse_change_of_log();

-- The indexes by account and by key begin with what tells their rows apart: a descent compares some twenty times, and the
-- shard is the same each time. A unique index on a distributed Postgres has to have the shard in it, not at its beginning; one
-- that is not unique need not have it, and is a fifth smaller without.
alter table events drop constraint events_account_seq_key;
alter table events add constraint events_account_seq_key unique (account_id, seq, shard);
drop index events_key_position_idx;
create index events_key_position_idx on events (key_id, position) where key_id is not null;
