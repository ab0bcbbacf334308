-- A shortcut past the beginning of an account's history, for statements of its later months: what its movements add up to
-- at some of its events. May be emptied at any moment: it is only a cached fold. `keyledger reconcile` compares it.
create table statement_marks (
    shard smallint not null,
    account_id uuid not null,
    -- The account's event up to which, and with which, the sums are.
    seq bigint not null
        constraint statement_marks_seq_from_one check (seq >= 1),
    -- Version of what the sums mean. A mark of another version is not read.
    format integer not null,
    -- Micro-credits.
    granted bigint not null
        constraint statement_marks_granted_from_zero check (granted >= 0),
    charged bigint not null
        constraint statement_marks_charged_from_zero check (charged >= 0),
    refunded bigint not null
        constraint statement_marks_refunded_from_zero check (refunded >= 0),
    expired bigint not null
        constraint statement_marks_expired_from_zero check (expired >= 0),
    corrected bigint not null
        constraint statement_marks_corrected_from_zero check (corrected >= 0),
    constraint statement_marks_pkey primary key (shard, account_id, seq)
);

grant select, insert, update, delete on statement_marks to keyledger_service;
