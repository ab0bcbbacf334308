-- Rows that change with every use are written again in place, as long as their page has room and no index knows the columns
-- that change.
alter table views.key_list set (fillfactor = 70);
alter table views.balance set (fillfactor = 70);
alter table views.grants set (fillfactor = 70);
alter table views.usage set (fillfactor = 70);
alter table views.usage_by_endpoint set (fillfactor = 70);

-- With the sums in the index, each use of a key wrote a new entry into both indexes.
drop index views.usage_key_hour_idx;
create index usage_key_hour_idx on views.usage (account_id, caller_id, hour);

-- Which rebuild the tables belong to: one that another has begun after finds its own name gone.
delete from views_next.checkpoints;
alter table views_next.checkpoints add column rebuild uuid not null;
