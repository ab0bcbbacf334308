-- Who opened an account under an idempotency key finds it again by the key: the account has no id before. A key's scope is
-- 40 hexadecimal digits of a hash, and stands in the name of the command; within a text that somebody chose every quote has
-- a backslash, so that nothing else looks like it.
create index events_opened_by_key_idx on events (shard, (substring(encode(body, 'escape') from '"commandid":"idem:([0-9a-f]{40})')))
    where type = 'keyledger.AccountOpened.v1';

-- Requests that came with an idempotency key and leave nothing in the log: links onto pages, and reports of leaks. What
-- they asked for is here as a hash.
create table idempotent_requests (
    scope text constraint idempotent_requests_pkey primary key,
    fingerprint text not null,
    -- The id of what was made.
    made uuid not null,
    requested_at timestamptz not null
);
create index idempotent_requests_requested_at_idx on idempotent_requests (requested_at);

grant select, insert, update, delete on idempotent_requests to keyledger_service;
