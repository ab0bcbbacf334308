-- What was used: by account, key, endpoint and hour. Charts read it, and BI tools may.

create table views.usage (
    account_id uuid not null,
    -- The beginning of the hour, UTC.
    hour timestamptz not null,
    -- Who used it: the key, or the account itself where the work came through the dashboard and there is no key.
    -- It is never null, because a null in a unique index is unlike every other null and cannot be asked for with `in`.
    caller_id uuid not null,
    endpoint text not null,
    -- The same for people who join: null is the dashboard.
    key_id uuid
        constraint usage_key_is_caller check (key_id is not distinct from nullif(caller_id, account_id)),
    -- How often data was asked for and let through.
    uses bigint not null
        constraint usage_uses_from_zero check (uses >= 0),
    -- Holds that were charged, the units delivered for them, and the micro-credits, in the hour of the charge.
    charges bigint not null
        constraint usage_charges_from_zero check (charges >= 0),
    quantity bigint not null
        constraint usage_quantity_from_zero check (quantity >= 0),
    charged bigint not null
        constraint usage_charged_from_zero check (charged >= 0),
    -- Holds that cost nothing, by cause, in the hour of the release.
    released_requested bigint not null
        constraint usage_released_requested_from_zero check (released_requested >= 0),
    released_queued bigint not null
        constraint usage_released_queued_from_zero check (released_queued >= 0),
    released_error bigint not null
        constraint usage_released_error_from_zero check (released_error >= 0),
    released_client_gone bigint not null
        constraint usage_released_client_gone_from_zero check (released_client_gone >= 0),
    released_expired bigint not null
        constraint usage_released_expired_from_zero check (released_expired >= 0),
    released_account_closed bigint not null
        constraint usage_released_account_closed_from_zero check (released_account_closed >= 0),
    -- In this order it also answers for an account and a range of time.
    constraint usage_pkey primary key (account_id, hour, caller_id, endpoint)
);

-- A key's use over a range of time: the small curves of the key list.
create index usage_key_hour_idx on views.usage (account_id, caller_id, hour) include (uses, charged);

-- The same without the keys. An account with thousands of keys has thousands of rows an hour above, and a handful here:
-- totals and curves by endpoint need not add them up again each time.
create table views.usage_by_endpoint (
    account_id uuid not null,
    hour timestamptz not null,
    endpoint text not null,
    uses bigint not null
        constraint usage_by_endpoint_uses_from_zero check (uses >= 0),
    charges bigint not null
        constraint usage_by_endpoint_charges_from_zero check (charges >= 0),
    quantity bigint not null
        constraint usage_by_endpoint_quantity_from_zero check (quantity >= 0),
    charged bigint not null
        constraint usage_by_endpoint_charged_from_zero check (charged >= 0),
    released_requested bigint not null
        constraint usage_by_endpoint_released_requested_from_zero check (released_requested >= 0),
    released_queued bigint not null
        constraint usage_by_endpoint_released_queued_from_zero check (released_queued >= 0),
    released_error bigint not null
        constraint usage_by_endpoint_released_error_from_zero check (released_error >= 0),
    released_client_gone bigint not null
        constraint usage_by_endpoint_released_client_gone_from_zero check (released_client_gone >= 0),
    released_expired bigint not null
        constraint usage_by_endpoint_released_expired_from_zero check (released_expired >= 0),
    released_account_closed bigint not null
        constraint usage_by_endpoint_released_account_closed_from_zero check (released_account_closed >= 0),
    constraint usage_by_endpoint_pkey primary key (account_id, hour, endpoint)
);

-- The networks that a key was last used from, cut off as the log has them: at most 32 a key, the latest.
create table views.key_networks (
    account_id uuid not null,
    key_id uuid not null,
    -- Compared byte by byte, as the fold does, so that which of two stays is the same everywhere.
    network text collate "C" not null,
    last_used_at timestamptz not null,
    constraint key_networks_pkey primary key (account_id, key_id, network)
);

-- From the first event on: a log that has some is caught up with by the projector itself.
insert into views.checkpoints (projection, shard, position, recorded_at)
    select 'usage', shard, 0, 'epoch' from log_head;

-- Billing lines of one key, of one endpoint, and of some days.
create index charges_account_key_idx on views.charges (account_id, shard, key_id, position) where key_id is not null;
create index charges_account_endpoint_idx on views.charges (account_id, shard, endpoint, position);
create index charges_account_time_idx on views.charges (account_id, shard, charged_at, position);

-- Accounts by how their name or reference begins. Byte order makes a beginning a range.
create index balance_name_idx on views.balance ((lower(name) collate "C"));
create index balance_external_ref_idx on views.balance ((external_ref collate "C")) where external_ref is not null;

-- An account's history by kind, and a key's, without those kinds that every use writes: these are never far away, and the
-- append shall not pay for two more indexes on them.
create index events_account_kind_idx on events (shard, account_id, type, seq)
    where type not in ('keyledger.KeyUsed.v1', 'keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1');
create index events_key_kind_idx on events (shard, key_id, type, position)
    where type not in ('keyledger.KeyUsed.v1', 'keyledger.CreditsReserved.v1', 'keyledger.CreditsCharged.v1')
      and key_id is not null;

grant select, insert, update, delete, truncate on views.usage, views.usage_by_endpoint, views.key_networks
    to keyledger_service;
