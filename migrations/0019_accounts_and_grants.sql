-- From when on nothing is done in an account any more but what time does.
alter table views.balance add column closed_at timestamptz;

-- Micro-credits that corrections took away. `granted` stays what was given.
alter table views.balance
    add column corrected bigint not null default 0
        constraint balance_corrected_from_zero check (corrected >= 0);
