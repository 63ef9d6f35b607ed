//! Receivers of every manner, on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Syslog;
use crate::config::{Reach, SyslogSink};
use crate::ledger::sinks::message::Message;
use crate::ledger::sinks::send::{SendError, Verdict};
use crate::ledger::sinks::testing::message;
use crate::net::NetError;

/// A sink, and where its receiver listens. A receiver that never closes is given up soon.
async fn sink() -> (Syslog, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let settings = SyslogSink {
        address: format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
        reach: Reach {
            ca: None,
            allow_networks: Vec::new(),
            insecure_loopback: true,
            timeout: Duration::from_secs(1),
        },
        client: None,
        facility: 10,
        app_name: "tollgate".into(),
        enterprise: None,
    };
    (Syslog::new(&settings, "tollgate.example").unwrap(), listener)
}

/// Sends while `receive` has the connection.
async fn send<F: Future>(
    batch: &[Message],
    receive: impl FnOnce(TcpStream) -> F,
) -> (Result<Vec<Verdict>, SendError>, F::Output) {
    let (sink, listener) = sink().await;
    tokio::join!(sink.send(batch), async { receive(listener.accept().await.unwrap().0).await })
}

#[tokio::test]
async fn a_receiver_that_reads_to_the_end_and_closes_has_it() {
    let batch = [message(1, 1), message(1, 2)];
    let (sent, text) = send(&batch, async |mut connection: TcpStream| {
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        text
    })
    .await;
    assert_eq!(sent.unwrap(), [Verdict::Taken, Verdict::Taken]);
    assert!(
        text.contains("{\"writer\":1,\"seq\":1}") && text.ends_with("{\"writer\":1,\"seq\":2}"),
        "{text}"
    );
}

#[tokio::test]
async fn a_receiver_that_dies_before_it_has_read_has_nothing() {
    let (sent, ()) = send(&[message(1, 1)], async |connection: TcpStream| {
        // Until it lies unread in the socket.
        connection.readable().await.unwrap();
        drop(connection);
    })
    .await;
    assert!(matches!(sent, Err(SendError::Broken(_))), "{sent:?}");
    let (sent, ()) = send(&[message(1, 1)], async |mut connection: TcpStream| {
        // Before anything has come.
        connection.shutdown().await.unwrap();
        drop(connection);
    })
    .await;
    assert!(matches!(sent, Err(SendError::Broken(_))), "{sent:?}");
}

#[tokio::test]
async fn a_receiver_that_never_closes_or_talks_back_has_nothing_for_certain() {
    let (sent, _open) = send(&[message(1, 1)], async |connection: TcpStream| connection).await;
    assert!(matches!(sent, Err(SendError::Net(NetError::Timeout(_)))), "{sent:?}");
    let (sent, _open) = send(&[message(1, 1)], async |mut connection: TcpStream| {
        connection.write_all(&[b'x'; 8192]).await.unwrap();
        connection
    })
    .await;
    assert!(matches!(sent, Err(SendError::Broken(_))), "{sent:?}");
}
