-- What was taken back of charges. Charges that are there already have nothing taken back: no event of before says so.
alter table views.charges
    -- Micro-credits, all refunds of the charge together.
    add column refunded bigint not null default 0
        constraint charges_refunded_within_charged check (refunded between 0 and charged);

-- In the hour of the refund, by the key and endpoint of the charge.
alter table views.usage
    add column refunded bigint not null default 0
        constraint usage_refunded_from_zero check (refunded >= 0);
alter table views.usage_by_endpoint
    add column refunded bigint not null default 0
        constraint usage_by_endpoint_refunded_from_zero check (refunded >= 0);
