-- What is said of people in an account's events is sealed under a key of the account's own. It is made together with the first
-- event that it seals. Without it nobody reads them again, and every byte that was proved stays.
create table data_keys (
    shard smallint not null,
    account_id uuid not null,
    -- One byte, 0 or 1, then the key itself or the key wrapped under one that is not in the database. Null: it is destroyed.
    key bytea,
    made_at timestamptz not null,
    erased_at timestamptz,
    constraint data_keys_pkey primary key (shard, account_id),
    constraint data_keys_there_or_erased check ((key is null) = (erased_at is not null))
);

grant select, insert, update on data_keys to keyledger_service;
