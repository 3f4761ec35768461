//! The runtimes in which a socket or a task makes progress.

use tokio::runtime::{Handle, Id, RuntimeFlavor};

/// The runtimes in which a socket or a task makes progress.
///
/// A current-thread runtime drives its sockets and tasks only while a thread blocks on one of its
/// futures. Users with one such runtime on each thread often run them only during their calls.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeAffinity(Option<Id>);

impl RuntimeAffinity {
    /// Progress in any runtime, and without one.
    pub const ANY: Self = Self(None);

    /// Returns the affinity of a socket or a task that is created now.
    pub fn current() -> Self {
        let Ok(runtime) = Handle::try_current() else {
            return Self::ANY;
        };
        let is_driven_by_callers = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self(is_driven_by_callers.then(|| runtime.id()))
    }

    /// Returns true if there is progress while the current runtime runs.
    pub fn includes_current(self) -> bool {
        self.0
            .is_none_or(|driver| Handle::try_current().is_ok_and(|runtime| runtime.id() == driver))
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn current_thread() -> Runtime {
        Builder::new_current_thread().build().expect("runtime")
    }

    #[test]
    fn a_current_thread_runtime_includes_only_itself() {
        let [first, second] = [current_thread(), current_thread()];
        let affinity = first.block_on(async { RuntimeAffinity::current() });
        assert!(first.block_on(async { affinity.includes_current() }));
        assert!(!second.block_on(async { affinity.includes_current() }));
        assert!(!affinity.includes_current());
    }

    #[test]
    fn a_runtime_with_worker_threads_includes_every_runtime() {
        let mut builder = Builder::new_multi_thread();
        let workers = builder.worker_threads(1).build().expect("runtime");
        let affinity = workers.block_on(async { RuntimeAffinity::current() });
        assert!(current_thread().block_on(async { affinity.includes_current() }));
        assert!(affinity.includes_current());
    }
}
