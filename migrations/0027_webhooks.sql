-- What the platform wants to be told of: a threshold reached, a key leaked, a key denied. Folded from the log like any view.
create table views.notices (
    shard smallint not null,
    position bigint not null,
    -- Of the event that says it.
    event_id uuid not null,
    account_id uuid not null,
    kind text not null,
    -- By the log's clock.
    at timestamptz not null,
    key_id uuid,
    -- Micro-credits, of a threshold that was reached.
    threshold bigint,
    balance bigint,
    -- Of a key that was refused.
    reason text,
    count bigint,
    -- Of notices that have the same one, the first alone is here.
    once text,
    constraint notices_pkey primary key (shard, position)
);
create index notices_once_idx on views.notices (once) where once is not null;

insert into views.checkpoints (projection, shard, position, recorded_at)
    select 'notices', shard, 0, 'epoch' from log_head;

grant select, insert, update, delete, truncate on views.notices to keyledger_service;

-- Who is told: what the config files said last. Secrets are not here.
create table webhook_receivers (
    receiver text constraint webhook_receivers_pkey primary key,
    url text not null,
    kinds text[] not null,
    -- It hears of what came after that.
    since timestamptz not null default now(),
    -- The process that sends to it now, so that no two do. By this server's clock.
    leased_by uuid,
    leased_until timestamptz,
    -- It could not be reached, or would not listen: since when, how often since, and when it is tried again.
    failing_since timestamptz,
    failures integer not null default 0
        constraint webhook_receivers_failures_from_zero check (failures >= 0),
    retry_at timestamptz
);

-- How far the notices are made into deliveries. A new receiver begins where the log ends.
create table webhook_cursors (
    receiver text not null
        constraint webhook_cursors_receiver_fkey references webhook_receivers on delete cascade,
    shard smallint not null,
    position bigint not null,
    constraint webhook_cursors_pkey primary key (receiver, shard)
);

-- A message to a receiver.
create table webhook_deliveries (
    number bigint generated always as identity constraint webhook_deliveries_pkey primary key,
    receiver text not null
        constraint webhook_deliveries_receiver_fkey references webhook_receivers on delete cascade,
    -- `webhook-id`: the same at every attempt, and after a replay.
    message text not null,
    kind text not null,
    account_id uuid not null,
    -- Sent as it stands, at every attempt.
    body text not null,
    queued_at timestamptz not null,
    state text not null
        constraint webhook_deliveries_state_known check (state in ('waiting', 'delivered', 'given-up')),
    attempts integer not null default 0
        constraint webhook_deliveries_attempts_from_zero check (attempts >= 0),
    next_at timestamptz not null,
    -- When it was delivered, or given up.
    ended_at timestamptz
        constraint webhook_deliveries_ended_unless_waiting check ((ended_at is null) = (state = 'waiting')),
    constraint webhook_deliveries_message_key unique (receiver, message)
);
-- What is sent next, and what of the same account goes before.
create index webhook_deliveries_waiting_idx on webhook_deliveries (receiver, number) where state = 'waiting';
create index webhook_deliveries_account_idx on webhook_deliveries (receiver, account_id, number) where state = 'waiting';
create index webhook_deliveries_receiver_idx on webhook_deliveries (receiver, number);
-- What can be sent again, what a span of time holds, and what is old enough to be forgotten.
create index webhook_deliveries_given_up_idx on webhook_deliveries (receiver, number) where state = 'given-up';
create index webhook_deliveries_queued_idx on webhook_deliveries (receiver, queued_at);
create index webhook_deliveries_ended_idx on webhook_deliveries (receiver, ended_at) where ended_at is not null;

-- Every attempt: the answer's status, or why there was none.
create table webhook_attempts (
    number bigint not null
        constraint webhook_attempts_number_fkey references webhook_deliveries on delete cascade,
    attempt integer not null,
    at timestamptz not null,
    took_ms integer not null,
    status smallint,
    error text,
    constraint webhook_attempts_pkey primary key (number, attempt),
    constraint webhook_attempts_status_or_error check ((status is null) <> (error is null))
);

grant select, insert, update, delete on webhook_receivers, webhook_cursors, webhook_deliveries, webhook_attempts
    to keyledger_service;
