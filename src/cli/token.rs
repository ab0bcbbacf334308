//! `keyledger token`: access tokens for callers of the API, where none is at hand to ask the API with. The log tells of them.

use clap::{Args, Subcommand};
use keyledger::tokens::{Keeper, Role};
use keyledger_events::TokenId;

#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it, this once
    Create {
        /// operator, metering, billing or auditor
        #[arg(long, value_parser = role)]
        role: Role,
        /// Whom or what it is for
        #[arg(long, default_value = "command line")]
        name: String,
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
    /// Make a token useless, everywhere within 5 s
    Revoke {
        /// `tok_…`, as `create` printed it
        token: TokenId,
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "operator, metering, billing or auditor".to_owned())
}

pub async fn run(token: Token) -> anyhow::Result<()> {
    match token.what {
        What::Create {
            role,
            name,
            database_url,
        } => {
            let (id, secret) = Keeper::open(&database_url)?.create(role, &name).await?;
            eprintln!("{id} with role {}; its text is not shown again", role.as_str());
            println!("{}", secret.expose_text_to_its_maker());
        }
        What::Revoke { token, database_url } => {
            let revoked = Keeper::open(&database_url)?.revoke(token).await?;
            let before = if revoked.replayed { " already" } else { "" };
            eprintln!("{token} is revoked{before}");
        }
    }
    Ok(())
}
