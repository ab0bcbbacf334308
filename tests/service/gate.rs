//! A gate in the database: an append waits before it until the test lets it on.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use crate::harness::{Harness, until};

/// Where an append waits that has come to some event: what is before it is inserted, and none of it is committed.
pub struct Gate(PgConnection);

impl Gate {
    /// Before the charge of a top-up, whose hold's charge comes before it.
    pub async fn before_a_top_up(harness: &Harness) -> Gate {
        Gate::closed(
            harness,
            r#"new.type like '%CreditsCharged%' and convert_from(new.body, 'UTF8') like '%"quantity":3%'"#,
        )
        .await
    }

    pub async fn before_a_hold(harness: &Harness) -> Gate {
        Gate::closed(harness, "new.type like '%CreditsReserved%'").await
    }

    pub async fn before_a_charge(harness: &Harness) -> Gate {
        Gate::closed(harness, "new.type like '%CreditsCharged%'").await
    }

    async fn closed(harness: &Harness, comes: &str) -> Gate {
        let mut owner = harness.owner().await;
        let wait = format!(
            "create function wait_at_the_gate() returns trigger language plpgsql as $$
            begin
                if {comes} then
                    perform pg_advisory_xact_lock_shared(1);
                end if;
                return new;
            end
            $$"
        );
        for statement in [
            wait.as_str(),
            "create trigger gate before insert on events for each row execute function wait_at_the_gate()",
            "select pg_advisory_lock(1)",
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut owner).await.unwrap();
        }
        Gate(owner)
    }

    /// Stops those who come from now on.
    pub async fn close(&mut self) {
        sqlx::query("select pg_advisory_lock(1)")
            .execute(&mut self.0)
            .await
            .unwrap();
    }

    pub async fn waiting(&mut self) -> bool {
        let waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database()))";
        sqlx::query_scalar(waiting).fetch_one(&mut self.0).await.unwrap()
    }

    /// Ends the connection of whoever waits: what it inserted is rolled back.
    pub async fn end_who_waits(&mut self) {
        let end = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())";
        sqlx::query(end).execute(&mut self.0).await.unwrap();
        until("nobody waits", async || !self.waiting().await).await;
    }

    pub async fn open(&mut self) {
        sqlx::query("select pg_advisory_unlock(1)")
            .execute(&mut self.0)
            .await
            .unwrap();
    }
}
