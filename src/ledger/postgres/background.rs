//! Threads of their own for the database, one that writes and one that reads: what waits for it never holds up those that
//! serve requests, and a store can be opened and dropped from anywhere.

use std::future::Future;
use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::ledger::error::{LedgerError, Unavailable};

/// The thread and the way to it; it ends when this is dropped.
pub(super) struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts it; `name` is the thread's.
    pub(super) fn start(name: &str) -> Result<Self, LedgerError> {
        let failed = |source: io::Error| Unavailable::Unreachable(source.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || drop(runtime.block_on(stopped));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Makes something that will work there.
    pub(super) fn inside<T>(&self, make: impl FnOnce() -> T) -> T {
        let _there = self.handle.enter();
        make()
    }

    /// Begins `work` there.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.handle.spawn(work)
    }

    /// Does `work` there and blocks until it is done.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, LedgerError>> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (done, wait) = sync_channel(1);
        self.handle.spawn(async move { drop(done.send(work.await)) });
        wait.recv().map_err(|_| Unavailable::Stopped)?
    }

    /// The same for a bounded time; none if it takes longer.
    pub(super) fn wait_at_most<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, wait) = sync_channel(1);
        self.handle.spawn(async move { drop(done.send(work.await)) });
        wait.recv_timeout(time).ok()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The last reader may be dropped on the thread itself, by a task that ends there.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's database thread had panicked");
        }
    }
}
