-- A process says that it is not ready while the database lacks a migration that it was built with. (The table is sqlx's, which runs
-- migrations.)
grant select on _sqlx_migrations to keyledger_service;
