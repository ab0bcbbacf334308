//! What `keyledger dev` tells when all is ready: to people on standard output, to scripts in a file.

use anyhow::Context as _;
use keyledger::local::LocalServers;
use keyledger::service::Service;
use serde::Serialize;

use super::demo::Demo;

/// The ready file: JSON, readable by its owner alone, since it holds secrets.
#[derive(Serialize)]
pub struct Ready {
    api: String,
    gateway: String,
    /// A URL that `psql -d` takes.
    postgres: String,
    nats: String,
    operator_token: String,
    /// Good once, for five minutes.
    operator_pages: String,
    demo: DemoReady,
}

#[derive(Serialize)]
struct DemoReady {
    account: String,
    key: String,
    secret: String,
    /// Good once, for five minutes.
    pages: String,
}

impl Ready {
    pub fn new(service: &Service, servers: &LocalServers, demo: Demo) -> anyhow::Result<Ready> {
        let api = service.api.context("the API does not run")?;
        let gateway = service
            .gateway
            .context("the gateway does not run: the config has no [gateway]")?;
        Ok(Ready {
            api: format!("http://{api}"),
            gateway: format!("http://{gateway}"),
            postgres: servers.postgres_url(),
            nats: servers.nats_url(),
            operator_token: demo.operator_token.expose_text_to_its_maker().to_owned(),
            operator_pages: demo.operator_pages,
            demo: DemoReady {
                account: demo.account,
                key: demo.key,
                secret: demo.secret,
                pages: demo.pages,
            },
        })
    }

    /// Prints the links, and lines that work as they stand.
    pub fn tell(&self, demo_upstream: bool) {
        let Ready {
            api,
            gateway,
            postgres,
            operator_token,
            operator_pages,
            demo,
            ..
        } = self;
        println!("\nKeyledger is ready.\n");
        println!("  API docs   {api}/docs");
        println!("  Health     {api}/readyz");
        println!("  Pages      {}   (this link works once, within 5 minutes)", demo.pages);
        println!("  Operator   {operator_pages}   (so does this one)");
        println!("  Gateway    {gateway}");
        println!("  Postgres   psql -d '{postgres}'");
        println!("\nFetch data with the demo customer's key (half a credit):\n");
        let path = if demo_upstream { "/serp?q=rust" } else { "/" };
        println!("  curl -i -H 'Authorization: Bearer {}' '{gateway}{path}'", demo.secret);
        println!("\nSee it in the balance and in the key list:\n");
        for what in ["balance", "keys"] {
            println!(
                "  curl -H 'Authorization: Bearer {operator_token}' {api}/v1/accounts/{}/{what}",
                demo.account
            );
        }
        println!("\nDelete the key, and fetch again:\n");
        println!(
            "  curl -X DELETE -H 'Authorization: Bearer {operator_token}' {api}/v1/accounts/{}/keys/{}",
            demo.account, demo.key
        );
        println!("\nCtrl-C stops everything; the data stays.");
    }
}
