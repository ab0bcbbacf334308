-- What a rebuild of a view, or a comparison, leaves behind when it is killed: rows of people who may want to be forgotten. Removes it,
-- unless somebody is at one: whoever is holds this lock, shared, for as long as his connection.
create function forget_left_generations() returns bigint language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$
declare
    left_behind text;
    gone bigint := 0;
begin
    if not pg_try_advisory_xact_lock(7810213001) then
        return 0;
    end if;
    for left_behind in
        select tablename from pg_tables where schemaname = 'views_next' and tablename <> 'checkpoints'
    loop
        execute format('drop table if exists views_next.%I', left_behind);
        gone := gone + 1;
    end loop;
    if gone > 0 then
        delete from views_next.checkpoints;
    end if;
    return gone;
end
$$;
revoke execute on function forget_left_generations() from public;
grant execute on function forget_left_generations() to keyledger_service;
