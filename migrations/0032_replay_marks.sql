-- A shortcut into a long account history, for replays: what the account was after some of its events. May be emptied at any
-- moment: it is only a cached fold.
create table replay_marks (
    shard smallint not null,
    account_id uuid not null,
    -- The account's event up to which, and with which, the state is.
    seq bigint not null
        constraint replay_marks_seq_from_one check (seq >= 1),
    -- Version of the state's form. A mark of another version is not read.
    format integer not null,
    -- JSON.
    state bytea not null,
    constraint replay_marks_pkey primary key (shard, account_id, seq)
);

grant select, insert, update, delete on replay_marks to keyledger_service;
