-- What queries read. Everything here is a fold of the log and can be built again from it.
create schema views;

-- The last position that each projection has folded. Changes in the same SQL transaction as the rows.
create table views.checkpoints (
    projection text not null,
    shard smallint not null,
    position bigint not null
        constraint checkpoints_position_from_zero check (position >= 0),
    -- Time of the last event folded.
    recorded_at timestamptz not null,
    constraint checkpoints_pkey primary key (projection, shard)
);

-- Where a rebuild folds a view again beside the live one. Its tables are made like the live ones and go when they have
-- taken over; the service never sees them.
create schema views_next;
create table views_next.checkpoints (like views.checkpoints including all);

insert into views.checkpoints (projection, shard, position, recorded_at)
    select projection, 0, 0, 'epoch' from unnest(array['key_list', 'balance', 'charges', 'reservations']) as projection;

create table views.key_list (
    account_id uuid not null,
    key_id uuid not null,
    name text not null,
    preview text not null,
    environment text not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz,
    deleted_at timestamptz,
    delete_reason text,
    replaces uuid,
    -- When the key was last let through to fetch data.
    last_used_at timestamptz,
    uses bigint not null,
    constraint key_list_pkey primary key (account_id, key_id)
);

create table views.balance (
    account_id uuid constraint balance_pkey primary key,
    name text not null,
    external_ref text,
    opened_at timestamptz not null,
    -- Amounts are micro-credits.
    credit_limit bigint not null,
    granted bigint not null
        constraint balance_granted_from_zero check (granted >= 0),
    charged bigint not null
        constraint balance_charged_from_zero check (charged >= 0),
    refunded bigint not null
        constraint balance_refunded_from_zero check (refunded >= 0),
    expired bigint not null
        constraint balance_expired_from_zero check (expired >= 0),
    reserved bigint not null
        constraint balance_reserved_from_zero check (reserved >= 0)
);

create table views.grants (
    account_id uuid not null,
    grant_id uuid not null,
    amount bigint not null,
    priority integer not null,
    expires_at timestamptz,
    source text not null,
    reference text,
    granted_at timestamptz not null,
    -- What is left to hold, and what is held.
    remaining bigint not null
        constraint grants_remaining_from_zero check (remaining >= 0),
    held bigint not null
        constraint grants_held_from_zero check (held >= 0),
    expired bigint not null
        constraint grants_expired_from_zero check (expired >= 0),
    constraint grants_pkey primary key (account_id, grant_id)
);

-- Grants that will expire with something left: what the sweeper looks for.
create index grants_due_idx on views.grants (expires_at) where remaining > 0 and expires_at is not null;

-- The billing line: a settled reservation that was charged.
create table views.charges (
    account_id uuid not null,
    reservation_id uuid not null,
    shard smallint not null,
    position bigint not null,
    key_id uuid,
    channel text not null,
    endpoint text not null,
    quantity bigint not null,
    unit_price bigint not null,
    price_version bigint not null,
    charged bigint not null,
    returned bigint not null,
    reserved_at timestamptz not null,
    charged_at timestamptz not null,
    constraint charges_pkey primary key (account_id, reservation_id)
);

create index charges_account_position_idx on views.charges (account_id, shard, position);

-- Open holds.
create table views.reservations (
    account_id uuid not null,
    reservation_id uuid not null,
    key_id uuid,
    channel text not null,
    endpoint text not null,
    quantity bigint not null,
    unit_price bigint not null,
    amount bigint not null,
    reserved_at timestamptz not null,
    expires_at timestamptz not null,
    constraint reservations_pkey primary key (account_id, reservation_id)
);

create index reservations_due_idx on views.reservations (expires_at);

grant usage on schema views to keyledger_service;
grant select, insert, update, delete, truncate on all tables in schema views to keyledger_service;
