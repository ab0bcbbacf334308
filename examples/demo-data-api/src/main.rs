//! `demo-data-api [--listen 127.0.0.1:9000]`: the demo data API by itself.

use std::process::ExitCode;

use demo_data_api::DemoOptions;
use tokio::net::TcpListener;

const USAGE: &str = "usage: demo-data-api [--listen ADDRESS:PORT]   (127.0.0.1:9000 when absent)";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let address = match arguments.as_slice() {
        [] => "127.0.0.1:9000",
        ["--listen", address] => address,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not serve on {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("demo data API on http://{}", listener.local_addr()?);
    demo_data_api::serve(listener, DemoOptions::default(), async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
    .await
}
