use tokio::{runtime::Handle, task::AbortHandle};

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(AbortHandle);

impl Task {
    /// Starts it in the runtime of whoever calls. `None` without one; nobody can be called then either.
    pub(super) fn start(work: impl Future<Output = ()> + Send + 'static) -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
        Some(Self(runtime.spawn(work).abort_handle()))
    }

    /// It has ended, by itself or with its runtime.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
