-- The log tells of access tokens. A row is written after its event, and a revocation here before its own: so there is never
-- a token that works and that the log does not know, and never one that the log calls revoked and that works.
alter table access_tokens
    -- Where the log says that the token was made. Null: it was made before the log told of tokens.
    add column position bigint
        constraint access_tokens_position_from_one check (position >= 1),
    -- Who made it and who revoked it, as actors of events: `tok_…` or `system`.
    add column created_by text,
    add column revoked_by text
        constraint access_tokens_revoked_by_of_revoked check (revoked_by is null or revoked_at is not null),
    -- Where the log says that it was revoked. Null: it was not, or was before the log told of tokens, or is about to be.
    add column revoked_position bigint
        constraint access_tokens_revoked_position_from_one check (revoked_position >= 1);

-- Revocations that the log does not tell of yet: there are none but after a crash.
create index access_tokens_untold_idx on access_tokens (token_id)
    where revoked_by is not null and revoked_position is null;
