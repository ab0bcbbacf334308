-- The Merkle tree over each shard's log, and what was signed of it. Made from the log alone, but what was published is never
-- changed: others have it.

create table audit_tiles (
    shard smallint not null,
    -- 0: hashes of events. Above: the root of 256 hashes of the level below is one hash.
    level smallint not null constraint audit_tiles_level_from_zero check (level >= 0),
    index bigint not null constraint audit_tiles_index_from_zero check (index >= 0),
    -- 256 SHA-256 hashes, one after the other. A tile that is not full yet is not here: it is made from what it stands on.
    hashes bytea not null constraint audit_tiles_are_full check (octet_length(hashes) = 8192),
    -- The tile's hash in the level above: so that the right edge of the tree is found without reading all the tiles below it.
    root bytea not null constraint audit_tiles_root_is_sha256 check (octet_length(root) = 32),
    constraint audit_tiles_pkey primary key (shard, level, index)
);

-- Hashes cannot be compressed, and a few of them are read out of the middle.
alter table audit_tiles alter column hashes set storage external;

create table audit_checkpoints (
    shard smallint not null,
    size bigint not null constraint audit_checkpoints_size_from_one check (size >= 1),
    root bytea not null constraint audit_checkpoints_root_is_sha256 check (octet_length(root) = 32),
    -- The signed note, as it was published.
    note text not null,
    made_at timestamptz not null,
    constraint audit_checkpoints_pkey primary key (shard, size)
);

-- To find the checkpoint of a moment.
create index audit_checkpoints_made_at_idx on audit_checkpoints (shard, made_at);

-- What witnesses put under checkpoints, a line each.
create table audit_cosignatures (
    shard smallint not null,
    size bigint not null,
    witness text not null,
    line text not null,
    received_at timestamptz not null,
    constraint audit_cosignatures_pkey primary key (shard, size, witness),
    constraint audit_cosignatures_checkpoint_fkey foreign key (shard, size) references audit_checkpoints (shard, size)
);

create function refuse_change_of_audit() returns trigger language plpgsql as $$
begin
    raise exception 'what was sealed is never changed: % on % is refused', tg_op, tg_table_name
        using errcode = 'restrict_violation';
end
$$;

create trigger audit_tiles_are_never_changed before update or delete on audit_tiles
    for each row execute function refuse_change_of_audit();
create trigger audit_tiles_are_never_truncated before truncate on audit_tiles
    for each statement execute function refuse_change_of_audit();
create trigger audit_checkpoints_are_never_changed before update or delete on audit_checkpoints
    for each row execute function refuse_change_of_audit();
create trigger audit_checkpoints_are_never_truncated before truncate on audit_checkpoints
    for each statement execute function refuse_change_of_audit();

grant select, insert on audit_tiles to keyledger_service;
grant select, insert on audit_checkpoints to keyledger_service;
grant select, insert on audit_cosignatures to keyledger_service;
