-- The history names people by their stay on the pages. A page of it is answered by one statement, so the stay's id, which
-- stands in an event's bytes as a ULID, is read where the names are.

-- 26 characters of Crockford's base 32 are 130 bits, of which the first two are nought.
create function uuid_of_ulid(ulid text) returns uuid language sql immutable strict parallel safe as $$
    select (lpad(to_hex(substring(bits from 3 for 64)::bit(64)::bigint), 16, '0')
         || lpad(to_hex(substring(bits from 67 for 64)::bit(64)::bigint), 16, '0'))::uuid
    from (
        select string_agg((strpos('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substr(ulid, n, 1)) - 1)::bit(5)::text, '' order by n)
            ::varbit as bits
        from generate_series(1, 26) as n
    ) whole
$$;

-- Within a text that somebody chose every quote has a backslash, so what is found is the event's own member.
create function people_behind(of_account uuid, bodies bytea[]) returns table (session_id uuid, name text)
language sql stable parallel safe as $$
    select s.session_id, s.name
    from (
        select distinct substring(convert_from(b.body, 'UTF8') from '"actor":"ses_([0-9A-HJKMNP-TV-Z]{26})"') as ulid
        from unnest(bodies) as b (body)
    ) a
    join portal_sessions s on s.session_id = uuid_of_ulid(a.ulid)
    where s.account_id = of_account and s.name is not null
$$;
