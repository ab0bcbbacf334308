-- From when on nothing is done in an account any more but what time does.
alter table views.balance add column closed_at timestamptz;
