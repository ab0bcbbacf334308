-- What a key is limited to, as its creation says it. Keys that are there already are limited by nothing.
alter table views.key_list
    -- The endpoints that the key is for, in the order of the alphabet; all of them where there is no list.
    add column scopes text[]
        constraint key_list_scopes_not_empty check (cardinality(scopes) > 0),
    -- Calls a second and calls at once; both or neither.
    add column rate_per_second integer
        constraint key_list_rate_per_second_from_one check (rate_per_second >= 1),
    add column rate_burst integer
        constraint key_list_rate_burst_from_one check (rate_burst >= 1),
    add constraint key_list_rate_whole check ((rate_per_second is null) = (rate_burst is null));
