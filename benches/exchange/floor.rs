//! What HTTP alone costs: Tollgate's own accept loop with a handler that reads the request and answers a constant.

use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::json;
use tollgate::http::{Caps, Server as HttpServer};

use crate::process::Server;
use crate::report::Floor;
use crate::{Fallible, cpu, load, say};

/// About as long as the answer of an exchange.
const ANSWER: [u8; 1100] = [b'x'; 1100];

/// Runs the bare server until it is killed: in a child process of [`measure`].
pub(crate) async fn serve() -> Fallible<()> {
    let caps = Caps {
        connections: 64,
        handshake: std::time::Duration::from_secs(1),
        idle: std::time::Duration::from_mins(1),
        grace: std::time::Duration::from_secs(1),
    };
    let server = HttpServer::bind(([127, 0, 0, 1], 0).into(), None, caps).await?;
    say(&json!({ "listening": server.address() }).to_string());
    let router = Router::new().route("/v1/credentials", post(|_: Bytes| async { ANSWER.to_vec() }));
    server.serve(router, std::future::pending()).await;
    Ok(())
}

/// Measures the bare server.
pub(crate) async fn measure(connections: usize, requests: Arc<Vec<Vec<u8>>>) -> Fallible<Floor> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve-floor");
    let server = Server::start(command)?;
    let count = u32::try_from(requests.len())?;
    let before = server.cpu()?;
    let run = load::send(server.address(), connections, requests).await?;
    let cpu_micros = cpu::per(server.cpu()? - before, count);
    Ok(Floor { connections, per_second: run.rate(), cpu_micros, p50_micros: run.percentile(50) })
}
