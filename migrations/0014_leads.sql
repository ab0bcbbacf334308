-- Which process has the lead of a shard: the one that decides for all, so that they need not take turns with the pen.
-- Only speed hangs on it. Two that both believe it, or none, write the log as safely as one.
create table log_leads (
    shard smallint constraint log_leads_pkey primary key
        constraint log_leads_shard_from_zero check (shard >= 0),
    -- A run of a process: a new one after each start.
    process uuid not null,
    -- Shows a command to come from somebody who may write this database. Made anew with each run.
    secret bytea not null
        constraint log_leads_secret_of_256_bits check (octet_length(secret) = 32),
    -- By this server's clock. Whoever has the lead moves it on; when it is past, anybody may take the lead.
    lasts_until timestamptz not null
);
grant select, insert, update on log_leads to keyledger_service;
