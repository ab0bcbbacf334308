-- From when on nothing is done in an account any more but what time does.
alter table views.balance add column closed_at timestamptz;

-- Micro-credits that corrections took away. `granted` stays what was given.
alter table views.balance
    add column corrected bigint not null default 0
        constraint balance_corrected_from_zero check (corrected >= 0);

alter table views.grants
    -- When it takes effect, where that is later than when it was given; and whether it has.
    add column starts_at timestamptz,
    add column started boolean not null default true
        constraint grants_started_unless_later check (started or starts_at is not null),
    -- The endpoints that it burns on, in the order of the alphabet; all of them where there is no list.
    add column endpoints text[]
        constraint grants_endpoints_not_empty check (cardinality(endpoints) > 0);

-- What is not available to every use right away: most accounts have none of these, and pay nothing for asking.
create index grants_set_aside_idx on views.grants (account_id) where endpoints is not null or not started;
-- What the sweeper starts.
create index grants_starting_idx on views.grants (starts_at) where not started;
