-- Where a projection has stopped, and why: for every process to read, whichever of them found out.
-- A row counts as long as the projection's checkpoint stands where it stood. Whoever moves the checkpoint, by folding on or
-- by a rebuild, ends the halt with that statement; what is left of it says nothing any more and is written over.
create table views.halts (
    projection text not null,
    shard smallint not null,
    -- Position of the last event folded: the one after it is at fault.
    checkpoint bigint not null
        constraint halts_checkpoint_from_zero check (checkpoint >= 0),
    -- Of the event at fault, where that can be read.
    event_id uuid,
    -- No names, and nothing else that the event holds.
    reason text not null,
    since timestamptz not null,
    constraint halts_pkey primary key (projection, shard)
);
grant select, insert, update on views.halts to keyledger_service;
