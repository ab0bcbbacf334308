-- A key's events are found in two steps: the index by key has the first event of a key among each 32 of its account's
-- (those whose `seq / 32` is the same), and the account's own index has the others. Most events so pay for one random index
-- less. What was appended before, or by a process that does not know of this, is in the index itself.
alter table events add column leads_key boolean not null default true;
drop index events_key_position_idx;
create index events_key_position_idx on events (key_id, position) where key_id is not null and leads_key;

-- An account's events of a key after a position, in order. Another account's key has none.
create function key_events_after(of_shard smallint, of_account uuid, of_key uuid, after bigint, at_most bigint)
returns table (at bigint, bytes bytea) language plpgsql stable parallel safe as $$
declare
    lead record;
    visited bigint;
    given bigint := 0;
begin
    if at_most <= 0 then
        return;
    end if;
    -- First the block whose first events are archived, perhaps with what led to the rest; then the block of the last lead up to
    -- `after`; then those of all later ones.
    for pass in 1..3 loop
        for lead in
            (select a.last_seq + 1 as seq, a.account_id from archive_accounts a
             where pass = 1 and a.shard = of_shard and a.account_id = of_account order by a.number desc limit 1)
            union all
            (select e.seq, e.account_id from events e
             where pass = 2 and e.shard = of_shard and e.key_id = of_key and e.leads_key and e.position <= after
             order by e.position desc)
            union all
            (select e.seq, e.account_id from events e
             where pass = 3 and e.shard = of_shard and e.key_id = of_key and e.leads_key and e.position > after
             order by e.position)
        loop
            continue when lead.account_id <> of_account;
            if lead.seq / 32 is distinct from visited then
                visited := lead.seq / 32;
                for at, bytes in
                    select e.position, e.body from events e
                    where e.shard = of_shard and e.account_id = of_account
                        and e.seq >= visited * 32 and e.seq < visited * 32 + 32 and e.key_id = of_key and e.position > after
                    order by e.seq
                loop
                    return next;
                    given := given + 1;
                    if given >= at_most then
                        return;
                    end if;
                end loop;
            end if;
            exit when pass = 2;
        end loop;
    end loop;
end
$$;

-- The same before a position, the newest first, of some types or (null) of all: rows `event`. When `look_at_most` of the key's
-- events were looked at for them, or a tenth as many blocks, a row `end` has the last of these events. Where nothing older is, a
-- row `looked_at` says how many were.
create function key_events_before(of_shard smallint, of_account uuid, of_key uuid, before bigint,
                                  of_types text[], at_most bigint, look_at_most bigint)
returns table (part text, at bigint, number bigint, kind text, bytes bytea) language plpgsql stable parallel safe as $$
declare
    lead record;
    visited bigint;
    reached bigint;
    blocks bigint := 0;
    given bigint := 0;
    looked_at bigint := 0;
begin
    if at_most <= 0 then
        return;
    end if;
    part := 'event';
    -- The blocks of all leads; then that whose first events are archived.
    for pass in 1..2 loop
        for lead in
            (select e.seq, e.account_id from events e
             where pass = 1 and e.shard = of_shard and e.key_id = of_key and e.leads_key and e.position < before
             order by e.position desc)
            union all
            (select a.last_seq + 1, a.account_id from archive_accounts a
             where pass = 2 and a.shard = of_shard and a.account_id = of_account order by a.number desc limit 1)
        loop
            continue when lead.account_id <> of_account or lead.seq / 32 = visited;
            visited := lead.seq / 32;
            for at, number, kind, bytes in
                select e.position, e.seq, e.type, e.body from events e
                where e.shard = of_shard and e.account_id = of_account
                    and e.seq >= visited * 32 and e.seq < visited * 32 + 32 and e.key_id = of_key and e.position < before
                order by e.seq desc
            loop
                looked_at := looked_at + 1;
                reached := at;
                if of_types is null or kind = any(of_types) then
                    return next;
                    given := given + 1;
                    if given >= at_most then
                        return;
                    end if;
                end if;
                exit when looked_at >= look_at_most;
            end loop;
            blocks := blocks + 1;
            if reached is not null and (looked_at >= look_at_most or blocks * 10 >= look_at_most) then
                part := 'end';
                at := reached;
                bytes := null;
                return next;
                return;
            end if;
        end loop;
    end loop;
    part := 'looked_at';
    at := looked_at;
    bytes := null;
    return next;
end
$$;
