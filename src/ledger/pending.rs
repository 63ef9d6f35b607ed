//! A step with whoever waits for it, whatever store carries it out.

use tokio::sync::oneshot;

use super::error::Unavailable;
use super::intent::Intent;

/// What every writer does with a step besides carrying it out.
pub(super) trait Step: Send {
    /// The intent's name, for crash tests.
    #[cfg(feature = "failpoints")]
    fn name(&self) -> &'static str;
    /// Sends the answer, or why there is none.
    fn settle(self: Box<Self>, committed: Result<(), Unavailable>);
}

/// The way back to whoever asked: the answer is sent after the commit.
pub(super) type Answer<I> = oneshot::Receiver<Result<<I as Intent>::Output, Unavailable>>;

/// An intent, its answer, and the way back.
pub(super) struct Pending<I: Intent> {
    intent: I,
    output: Option<I::Output>,
    reply: oneshot::Sender<Result<I::Output, Unavailable>>,
}

impl<I: Intent> Pending<I> {
    /// Also returns where its answer will come.
    pub(super) fn new(intent: I) -> (Box<Self>, Answer<I>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Self { intent, output: None, reply }), answer)
    }

    pub(super) const fn intent(&self) -> &I {
        &self.intent
    }

    /// Keeps the answer that `apply` gives.
    pub(super) fn carry_out<E>(&mut self, apply: impl FnOnce(&I) -> Result<I::Output, E>) -> Result<(), E> {
        self.output = Some(apply(&self.intent)?);
        Ok(())
    }
}

impl<I: Intent> Step for Pending<I> {
    #[cfg(feature = "failpoints")]
    fn name(&self) -> &'static str {
        std::any::type_name::<I>().rsplit("::").next().unwrap_or_default()
    }

    fn settle(self: Box<Self>, committed: Result<(), Unavailable>) {
        let Self { output, reply, .. } = *self;
        // Whoever asked may be gone; what was recorded stays recorded.
        let _ = reply.send(committed.and_then(|()| output.ok_or(Unavailable::Stopped)));
    }
}

/// A failpoint for each step of a transaction, such as `before_commit_of_Lease`: a point that every commit passes would
/// end the process at its start.
#[cfg(feature = "failpoints")]
pub(super) fn failpoints<S: Step + ?Sized>(when: &str, steps: &[Box<S>]) {
    for step in steps {
        fail::fail_point!(&format!("{when}_of_{}", step.name()));
    }
}

#[cfg(not(feature = "failpoints"))]
pub(super) const fn failpoints<S: Step + ?Sized>(_when: &str, _steps: &[Box<S>]) {}
