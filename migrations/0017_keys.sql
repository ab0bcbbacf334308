-- A key that has a successor works until its moment comes.
alter table views.key_list
    add column successor uuid,
    add column stops_at timestamptz,
    add constraint key_list_rotation_whole check ((successor is null) = (stops_at is null));

-- Asked every second by the sweeper: the few keys whose end is still to come.
create index key_list_stopping_idx on views.key_list (stops_at) where stops_at is not null and deleted_at is null;

-- What test keys do is counted, costs nothing, and can be told apart.
alter table views.charges
    add column environment text not null default 'live'
        constraint charges_environment_known check (environment in ('live', 'test'));
alter table views.usage
    add column test_uses bigint not null default 0
        constraint usage_test_uses_are_uses check (test_uses between 0 and uses);
alter table views.usage_by_endpoint
    add column test_uses bigint not null default 0
        constraint usage_by_endpoint_test_uses_are_uses check (test_uses between 0 and uses);

-- Uses that were refused: the last day on which there were any, and how many on it.
alter table views.key_list
    add column denied_day timestamptz,
    add column denied_count bigint
        constraint key_list_denied_count_from_one check (denied_count >= 1),
    add constraint key_list_denied_whole check ((denied_day is null) = (denied_count is null));

-- What a key may spend: micro-credits in each day or month, UTC.
alter table views.key_list
    add column spending_amount bigint
        constraint key_list_spending_amount_from_one check (spending_amount >= 1),
    add column spending_per text
        constraint key_list_spending_per_known check (spending_per in ('day', 'month')),
    add constraint key_list_spending_whole check ((spending_amount is null) = (spending_per is null));
