-- Callers of the HTTP API. The text of a token is shown once; this is its SHA-256.
create table access_tokens (
    token_id uuid constraint access_tokens_pkey primary key,
    digest bytea not null
        constraint access_tokens_digest_key unique
        constraint access_tokens_digest_is_sha256 check (octet_length(digest) = 32),
    role text not null
        constraint access_tokens_role_known check (role in ('operator', 'metering', 'billing', 'auditor')),
    name text not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);

grant select, insert, update on access_tokens to keyledger_service;
