//! A network between a server and its database that loses the answer to a commit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Forwards connections to a database.
pub(super) struct Proxy {
    pub(super) port: u16,
    cut: Arc<AtomicBool>,
}

impl Proxy {
    /// Forwards to `port` on this machine.
    pub(super) fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), cut: Arc::default() };
        let cut = Arc::clone(&proxy.cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (there, back) = (Arc::clone(&cut), Arc::clone(&cut));
                let lost = Arc::new(AtomicBool::new(false));
                let is_lost = Arc::clone(&lost);
                std::thread::spawn(move || forward(from, to, |bytes| mark(bytes, &there, &lost)));
                std::thread::spawn(move || {
                    forward(server, client, |_| {
                        let stop = is_lost.load(Ordering::SeqCst);
                        if stop {
                            back.store(false, Ordering::SeqCst);
                        }
                        !stop
                    });
                });
            }
        });
        proxy
    }

    /// Lets the next commit reach the database, and its answer be lost with the connection.
    pub(super) fn lose_the_next_answer_to_a_commit(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// True until that has happened.
    pub(super) fn is_armed(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

/// Notes that a commit passes; it goes on its way.
fn mark(bytes: &[u8], cut: &AtomicBool, lost: &AtomicBool) -> bool {
    if cut.load(Ordering::SeqCst) && bytes.windows(7).any(|word| word == b"COMMIT\0") {
        lost.store(true, Ordering::SeqCst);
    }
    true
}

/// Passes on what `pass` lets through; otherwise ends both connections.
fn forward(mut from: TcpStream, mut to: TcpStream, pass: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || !pass(&buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
