-- Stays on the customer's pages. Of the link's and the cookie's text only the SHA-256 is here.
create table portal_sessions (
    session_id uuid constraint portal_sessions_pkey primary key,
    account_id uuid not null,
    -- Who the platform says this is. The row outlives the stay, so that the history can say who did something.
    name text,
    return_url text,
    read_only boolean not null,
    created_by uuid not null,
    created_at timestamptz not null,
    link_digest bytea not null
        constraint portal_sessions_link_digest_key unique
        constraint portal_sessions_link_digest_is_sha256 check (octet_length(link_digest) = 32),
    link_expires_at timestamptz not null,
    -- The one use of the link.
    opened_at timestamptz,
    -- Gone when the person signs out.
    cookie_digest bytea
        constraint portal_sessions_cookie_digest_key unique
        constraint portal_sessions_cookie_digest_is_sha256 check (octet_length(cookie_digest) = 32),
    last_seen_at timestamptz,
    -- However busy the stay is, it ends then.
    ends_at timestamptz,
    constraint portal_sessions_open_whole check
        ((opened_at is null) = (last_seen_at is null) and (opened_at is null) = (ends_at is null))
);

-- Links that nobody followed: removed a day later.
create index portal_sessions_unopened_idx on portal_sessions (link_expires_at) where opened_at is null;

grant select, insert, update, delete on portal_sessions to keyledger_service;
