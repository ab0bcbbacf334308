//! Whether this process can do its work, and what is wrong when it cannot.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use sqlx::PgPool;

use crate::audit::sealer::SealerHandle;
use crate::bus::Bus;
use crate::http::{Check, Health, Readiness};
use crate::migrate::{self, Schema};
use crate::projector::ProjectorHandle;
use crate::relay::RelayHandle;
use crate::views::{Standing, Views};

/// The parts of this process that can be looked at.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub pool: PgPool,
    pub views: Views,
    pub bus: Bus,
    pub relay: Option<RelayHandle>,
    pub projector: Option<ProjectorHandle>,
    pub sealer: Option<SealerHandle>,
}

/// Whoever asks for readiness asks again soon.
const DATABASE_WITHIN: Duration = Duration::from_millis(1_000);

impl Parts {
    async fn look(&self) -> Readiness {
        let mut checks = BTreeMap::new();
        let schema = tokio::time::timeout(DATABASE_WITHIN, migrate::schema(&self.pool)).await;
        let schema = schema.ok().and_then(Result::ok);
        let postgres_ok = schema.is_some();
        let schema_ok = schema == Some(Schema::Fits);
        checks.insert(
            "postgres".to_owned(),
            check(postgres_ok, "reached", "cannot be reached"),
        );
        if let Some(schema) = schema {
            checks.insert("schema".to_owned(), of_schema(schema));
        }
        let bus_away = "cannot be reached; the views hear a moment later";
        checks.insert("nats".to_owned(), check(self.bus.connected(), "reached", bus_away));
        if let Some(relay) = &self.relay {
            let status = relay.status();
            let last = status.last;
            let wrong = status.wrong();
            let ok = wrong.is_none();
            let detail = wrong.unwrap_or_else(|| format!("at {last}"));
            checks.insert("relay".to_owned(), Check { ok, detail });
        }
        if let Some(sealer) = &self.sealer {
            let status = sealer.status();
            let ok = status.fault.is_none();
            let detail = status.fault.unwrap_or_else(|| format!("{} events", status.size));
            checks.insert("sealer".to_owned(), Check { ok, detail });
        }
        if postgres_ok {
            checks.extend(self.halted_anywhere().await);
        }
        let mut projections_ok = true;
        for status in self.projector.iter().flat_map(ProjectorHandle::status) {
            let ok = status.halted.is_none();
            projections_ok &= ok;
            let detail = status.halted.unwrap_or_else(|| format!("at {}", status.checkpoint));
            checks.insert(format!("projection_{}", status.view), Check { ok, detail });
        }
        // Commands and queries do without the bus, a relay or a sealer: those are told, and no reason to send requests
        // elsewhere. What another process's projector does is as bad there.
        Readiness {
            ready: postgres_ok && schema_ok && projections_ok,
            checks,
        }
    }
}

impl Parts {
    /// Projections that have stopped, whichever process folds them.
    async fn halted_anywhere(&self) -> Vec<(String, Check)> {
        let standings = tokio::time::timeout(DATABASE_WITHIN, self.views.standings()).await;
        let Ok(Ok(standings)) = standings else {
            return Vec::new();
        };
        let halted = |standing: Standing| {
            let detail = standing.halted?.reason;
            Some((
                format!("projection_{}", standing.projection),
                Check { ok: false, detail },
            ))
        };
        standings.into_iter().filter_map(halted).collect()
    }
}

impl Health for Parts {
    fn check(&self) -> Pin<Box<dyn Future<Output = Readiness> + Send + '_>> {
        Box::pin(self.look())
    }
}

fn of_schema(schema: Schema) -> Check {
    let newest = migrate::newest();
    let has = match schema {
        Schema::Fits => {
            let detail = format!("has migration {newest}");
            return Check { ok: true, detail };
        }
        Schema::Older(Some(version)) => format!("ends with migration {version}"),
        Schema::Older(None) => "is older".to_owned(),
    };
    let detail = format!("{has}; this version needs {newest}: run `keyledger migrate`");
    Check { ok: false, detail }
}

fn check(ok: bool, well: &str, otherwise: &str) -> Check {
    Check {
        ok,
        detail: if ok { well } else { otherwise }.to_owned(),
    }
}
