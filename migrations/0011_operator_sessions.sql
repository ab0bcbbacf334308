-- Operators have stays too, on pages of their own: of no account. Such a stay looks at everything and changes nothing.
alter table portal_sessions alter column account_id drop not null;
alter table portal_sessions add constraint portal_sessions_operators_only_look
    check (account_id is not null or read_only);
