//! Offloads the decoding and encoding of large envelopes to other threads.

use std::{
    fmt,
    future::{Future, pending},
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    thread::available_parallelism,
};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// Work that runs on the blocking threads of tokio.
///
/// Decoding a large envelope can take a second, which would delay all other connections of the same
/// thread. If the future is dropped before the work starts, the work never runs. If the future is
/// dropped later, the result is discarded.
pub(crate) struct Offload<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T: Send + 'static> Offload<T> {
    /// Queues work. Work starts in the order in which the futures are first polled. At most
    /// [`max_concurrency`] pieces of work run at once in this process.
    pub(crate) fn new(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Box::pin(run(work)))
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // The semaphore is never closed, so a permit is always acquired.
    let permit = Arc::clone(&PERMITS).acquire_owned().await.ok();
    let task = spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    });
    match task.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down and will also drop this future.
            Err(_) => pending().await,
        },
    }
}

impl<T> Future for Offload<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").finish_non_exhaustive()
    }
}

static PERMITS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(max_concurrency())));

/// Returns the number of cores minus one. One core is left for the threads that drive sockets.
fn max_concurrency() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[tokio::test]
    async fn work_runs_on_another_thread() {
        let driver = thread::current().id();
        let worker = Offload::new(|| thread::current().id()).await;
        assert_ne!(worker, driver);
    }

    #[tokio::test]
    async fn work_that_is_dropped_before_it_starts_never_runs() {
        let (sender, receiver) = mpsc::channel::<()>();
        drop(Offload::new(move || sender.send(())));
        assert!(receiver.recv().is_err());
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let failing = tokio::spawn(Offload::new(|| panic!("scripted")));
        assert!(failing.await.unwrap_err().is_panic());
    }
}
