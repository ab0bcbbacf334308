//! A made-up search data API, to be put behind the gateway in the demo and in tests. An example, not part of the product.
//!
//! | call | answers |
//! | --- | --- |
//! | `GET /serp?q=`, `POST /serp` `{"q":…}` | ten ranked results |
//! | `GET /ai-visibility/{brand}?conversations=N` | `{"conversations":[…N…]}`, 3 by default |
//! | `GET /conversions` | conversions by channel |
//! | `POST /serp/tasks` `{"q":…}` | 202 `{"task":…}` |
//! | `GET /serp/tasks/{task}` | 202 while pending, then 200 with the results |
//! | `ANY /echo` | the request as it arrived, headers included |
//!
//! The same question has the same answer: nothing here depends on time or chance. How an answer travels, or fails to,
//! is chosen with the query parameters in [`switches`], on every path.
//!
//! Not here: keys, credits, limits. Whoever reaches this API may use it; that is what the gateway in front is for.

mod data;
mod echo;
pub mod switches;
mod tasks;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;

use tasks::Tasks;

#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// How often a task is asked for before it is done. 0: it is done at once.
    pub polls_until_done: u32,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { polls_until_done: 1 }
    }
}

#[derive(Debug, Clone)]
struct Demo {
    tasks: Arc<Tasks>,
    /// Every request that arrived, on any path.
    requests: Arc<AtomicU64>,
}

pub fn router(options: DemoOptions) -> Router {
    let demo = Demo {
        tasks: Arc::new(Tasks::new(options.polls_until_done)),
        requests: Arc::default(),
    };
    Router::new()
        .route("/serp", get(data::serp).post(data::serp_from_body))
        .route("/ai-visibility/{brand}", get(data::ai_visibility))
        .route("/conversions", get(data::conversions))
        .route("/serp/tasks", post(tasks::queue))
        .route("/serp/tasks/{task}", get(tasks::collect))
        .route("/echo", any(echo::echo))
        .layer(middleware::from_fn(switches::apply))
        .layer(middleware::from_fn_with_state(demo.clone(), echo::count))
        .with_state(demo)
}

/// Serves until `shutdown` completes and the requests that had begun are answered.
pub async fn serve(
    listener: TcpListener,
    options: DemoOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(options))
        .with_graceful_shutdown(shutdown)
        .await
}
