-- Credits that come again and again. Part of the balance: what a plan gives stands in both at the same position.
create table views.plans (
    account_id uuid not null,
    plan_id uuid not null,
    -- Micro-credits.
    amount bigint not null,
    period text not null,
    rollover_cap bigint not null,
    starts_at timestamptz not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    -- Periods that were granted for, and when the next begins.
    periods bigint not null
        constraint plans_periods_from_zero check (periods >= 0),
    next_at timestamptz
        constraint plans_next_unless_ended check ((next_at is null) = (ended_at is not null)),
    constraint plans_pkey primary key (account_id, plan_id)
);

-- What the sweeper renews.
create index plans_due_idx on views.plans (next_at) where next_at is not null;

grant select, insert, update, delete, truncate on views.plans to keyledger_service;

-- Balances at which to tell, in micro-credits, the highest first.
alter table views.balance add column thresholds bigint[] not null default '{}';
