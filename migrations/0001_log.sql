-- The log: the only truth. Rows are never updated or deleted.

-- The service works under this role; the owner of the database connects and takes it on.
do $$
begin
    create role keyledger_service nologin;
exception
    -- Roles belong to the whole cluster: another database, or another migration at this moment, may have made it.
    when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    execute format('grant keyledger_service to %I', current_user);
end
$$;

-- The pen. Whoever moves this row appends; a sequence would hand out numbers before commit,
-- and readers would step over events that become visible late.
create table log_head (
    shard smallint constraint log_head_pkey primary key
        constraint log_head_shard_from_zero check (shard >= 0),
    position bigint not null
        constraint log_head_position_from_zero check (position >= 0),
    -- Time of the last event: the writer's clock never runs behind it.
    recorded_at timestamptz not null
);

insert into log_head (shard, position, recorded_at) values (0, 0, 'epoch');

create table events (
    shard smallint not null,
    position bigint not null
        constraint events_position_from_one check (position >= 1),
    account_id uuid not null,
    seq bigint not null
        constraint events_seq_from_one check (seq >= 1),
    event_id uuid not null,
    type text not null,
    key_id uuid,
    key_digest bytea
        constraint events_key_digest_is_sha256 check (octet_length(key_digest) = 32),
    recorded_at timestamptz not null,
    -- The canonical bytes. Never jsonb: it would keep a meaning, not the bytes that were hashed.
    body bytea not null,
    constraint events_pkey primary key (shard, position),
    constraint events_account_seq_key unique (shard, account_id, seq)
);

-- Answers "whose key is this" from the log itself. Begins with shard, as every unique index must on a distributed Postgres.
create unique index events_key_digest_key on events (shard, key_digest) where key_digest is not null;

-- A key's history, in order.
create index events_key_position_idx on events (shard, key_id, position) where key_id is not null;

-- Bodies are short and read whole: compressing them costs the append and saves little.
alter table events alter column body set storage external;

create function refuse_change_of_log() returns trigger language plpgsql as $$
begin
    raise exception 'the log is append-only: % on % is refused', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger events_are_never_changed before update or delete on events
    for each row execute function refuse_change_of_log();
create trigger events_are_never_truncated before truncate on events
    for each statement execute function refuse_change_of_log();

create function refuse_backward_head() returns trigger language plpgsql as $$
begin
    if tg_op <> 'UPDATE' or new.position < old.position or new.shard <> old.shard then
        raise exception 'the head of the log only moves forward' using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;

create trigger log_head_moves_forward before update or delete on log_head
    for each row execute function refuse_backward_head();

-- For people with SQL: the same events as documents.
create view events_as_json as
    select shard, position, account_id, seq, event_id, type, recorded_at, convert_from(body, 'UTF8')::jsonb as document
    from events;

-- A shortcut past the beginning of an account's history. May be lost or emptied at any moment: it is only a cached fold.
create table account_snapshots (
    shard smallint not null,
    account_id uuid not null,
    seq bigint not null,
    position bigint not null,
    -- Version of the state's form. A snapshot of another version is not read.
    format integer not null,
    state bytea not null,
    constraint account_snapshots_pkey primary key (shard, account_id)
);

grant select, insert on events to keyledger_service;
grant select, update on log_head to keyledger_service;
grant select on events_as_json to keyledger_service;
grant select, insert, update, delete on account_snapshots to keyledger_service;
