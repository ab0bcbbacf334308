-- Rows that change with every use are written again in place, as long as their page has room and no index knows the columns
-- that change. `views.usage` has such an index: pages add up very many rows without looking at them.
alter table views.key_list set (fillfactor = 70);
alter table views.balance set (fillfactor = 70);
alter table views.grants set (fillfactor = 70);
alter table views.usage_by_endpoint set (fillfactor = 70);

-- Which rebuild the tables belong to: one that another has begun after finds its own name gone.
delete from views_next.checkpoints;
alter table views_next.checkpoints add column rebuild uuid not null;
