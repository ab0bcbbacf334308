-- Old events move to segment files outside Postgres. A shard's events are those of its segments, which are its beginning
-- without a gap, and those of the table `events`, which are the rest: never both, never neither. Rows leave and the
-- segment's row comes in one SQL transaction, so that one statement sees one or the other.

create table archive_segments (
    shard smallint not null,
    -- From 0, without a gap.
    number integer not null
        constraint archive_segments_number_from_zero check (number >= 0),
    first bigint not null
        constraint archive_segments_first_from_one check (first >= 1),
    last bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    -- Of the whole file. The name of the file has the SHA-256 too.
    bytes bigint not null
        constraint archive_segments_bytes_from_one check (bytes >= 1),
    sha256 bytea not null
        constraint archive_segments_sha256_is_one check (octet_length(sha256) = 32),
    -- Where the index begins in the file, how long it is, and its own SHA-256. It has that of each bundle, so that a part of
    -- the file that is read alone can be proven alone.
    index_at bigint not null
        constraint archive_segments_index_at_from_zero check (index_at >= 0),
    index_bytes bigint not null
        constraint archive_segments_index_bytes_from_one check (index_bytes >= 1),
    index_sha256 bytea not null
        constraint archive_segments_index_sha256_is_one check (octet_length(index_sha256) = 32),
    -- A directory, or `s3://bucket/prefix?endpoint=…`. No credentials.
    place text not null,
    name text not null,
    archived_at timestamptz not null default now(),
    constraint archive_segments_pkey primary key (shard, number),
    -- Finds the segment of a position.
    constraint archive_segments_last_key unique (shard, last),
    constraint archive_segments_in_order check (last >= first and last_at >= first_at)
);

-- Which of an account's events are in a segment, and which types they have: so that only segments are looked into that have
-- what is looked for.
create table archive_accounts (
    shard smallint not null,
    account_id uuid not null,
    number integer not null,
    first_seq bigint not null
        constraint archive_accounts_first_seq_from_one check (first_seq >= 1),
    last_seq bigint not null,
    first_at timestamptz not null,
    types text[] not null,
    constraint archive_accounts_pkey primary key (shard, account_id, number),
    constraint archive_accounts_in_order check (last_seq >= first_seq)
);

-- The same of a key.
create table archive_keys (
    shard smallint not null,
    key_id uuid not null,
    number integer not null,
    last_position bigint not null,
    types text[] not null,
    constraint archive_keys_pkey primary key (shard, key_id, number)
);

-- "Whose key is this" is asked for every key that a process does not know, and answered from Postgres for archived keys too.
create table archive_digests (
    shard smallint not null,
    key_digest bytea not null
        constraint archive_digests_key_digest_is_sha256 check (octet_length(key_digest) = 32),
    account_id uuid not null,
    constraint archive_digests_pkey primary key (shard, key_digest)
);

create function keep_archive_whole() returns trigger language plpgsql as $$
declare
    number integer;
    last bigint;
begin
    select s.number, s.last into number, last from archive_segments s
        where s.shard = new.shard order by s.number desc limit 1;
    if new.number <> coalesce(number + 1, 0) or new.first <> coalesce(last + 1, 1) then
        raise exception 'segment % of shard % does not follow the last one', new.number, new.shard
            using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;

create trigger archive_segments_follow_each_other before insert on archive_segments
    for each row execute function keep_archive_whole();

create function refuse_change_of_archive() returns trigger language plpgsql as $$
begin
    -- A file may be put elsewhere. It stays what it is.
    if tg_table_name = 'archive_segments' and tg_op = 'UPDATE' then
        if to_jsonb(new) - 'place' = to_jsonb(old) - 'place' then
            return new;
        end if;
    end if;
    raise exception 'what is archived stays so: % on % is refused', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger archive_segments_stay before update or delete on archive_segments
    for each row execute function refuse_change_of_archive();
create trigger archive_segments_are_never_truncated before truncate on archive_segments
    for each statement execute function refuse_change_of_archive();
create trigger archive_accounts_stay before update or delete on archive_accounts
    for each row execute function refuse_change_of_archive();
create trigger archive_accounts_are_never_truncated before truncate on archive_accounts
    for each statement execute function refuse_change_of_archive();
create trigger archive_keys_stay before update or delete on archive_keys
    for each row execute function refuse_change_of_archive();
create trigger archive_keys_are_never_truncated before truncate on archive_keys
    for each statement execute function refuse_change_of_archive();
create trigger archive_digests_stay before update or delete on archive_digests
    for each row execute function refuse_change_of_archive();
create trigger archive_digests_are_never_truncated before truncate on archive_digests
    for each statement execute function refuse_change_of_archive();

-- The log is as append-only as it was. A row may only leave the table when a segment has it, and the digest of its key is
-- kept; and the service's role may not delete at all.
create function refuse_change_of_events() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if exists (select from archive_segments s where s.shard = old.shard and old.position between s.first and s.last)
            and (old.key_digest is null or exists (
                select from archive_digests d
                where d.shard = old.shard and d.key_digest = old.key_digest and d.account_id = old.account_id))
        then
            return old;
        end if;
    end if;
    raise exception 'the log is append-only: % on % is refused', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

drop trigger events_are_never_changed on events;
create trigger events_are_never_changed before update or delete on events
    for each row execute function refuse_change_of_events();

-- A key's text is one key's for ever, also when its creation is archived. Costs nothing for events that create no key.
create function refuse_archived_digest() returns trigger language plpgsql as $$
begin
    if exists (select from archive_digests d where d.shard = new.shard and d.key_digest = new.key_digest) then
        raise unique_violation using
            message = 'the digest is an archived key''s', constraint = 'archive_digests_pkey', table = 'archive_digests';
    end if;
    return new;
end
$$;

create trigger events_have_no_archived_digest before insert on events
    for each row when (new.key_digest is not null) execute function refuse_archived_digest();

grant select on archive_segments, archive_accounts, archive_keys, archive_digests to keyledger_service;
