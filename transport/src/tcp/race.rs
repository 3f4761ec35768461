//! A race between the addresses of a host: the first address that answers wins (Happy Eyeballs, RFC
//! 8305).

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;

/// Tries the addresses in sequence and returns the first connection.
///
/// The next attempt starts when an attempt fails, or [`ATTEMPT_DELAY`] after the previous attempt
/// started. Earlier attempts continue in the meantime. Therefore, an address that silently drops
/// packets delays the connection by only 250 ms. When an attempt succeeds, all others are dropped.
///
/// `addresses` must not be empty. The resolver of the system has sorted them according to RFC 6724.
pub(super) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    if let [address] = addresses[..] {
        return attempt(address).await;
    }
    let mut waiting = interleave(addresses).into_iter();
    let mut running = Running(Vec::new());
    let mut failure = None;
    loop {
        running
            .0
            .extend(waiting.next().map(|address| Box::pin(attempt(address))));
        if running.0.is_empty() {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::InvalidInput.into()));
        }
        let finished = poll_fn(|cx| running.poll(cx));
        let finished = if waiting.len() == 0 {
            finished.await
        } else {
            match timeout(ATTEMPT_DELAY, finished).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        };
        match finished {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = Some(more_useful(failure, error)),
        }
    }
}

/// The attempts that are still in progress.
struct Running<F>(Vec<Pin<Box<F>>>);

impl<T, F: Future<Output = io::Result<T>>> Running<F> {
    /// Polls all attempts. Removes the first attempt that is complete and returns its result.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        for index in 0..self.0.len() {
            if let Poll::Ready(result) = self.0[index].as_mut().poll(cx) {
                drop(self.0.remove(index));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    }
}

/// Reorders the addresses so that the address families alternate. The family of the first address
/// remains first.
///
/// If a network drops the packets of one family, the second attempt already uses the other family.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let len = addresses.len();
    let begins_with_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == begins_with_ipv6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut interleaved = Vec::with_capacity(len);
    while interleaved.len() < len {
        interleaved.extend(preferred.next().into_iter().chain(others.next()));
    }
    interleaved
}

/// Chooses the error to report. An error that the machine has no route to an address family is the
/// least useful.
fn more_useful(before: Option<io::Error>, error: io::Error) -> io::Error {
    match before {
        Some(before) if is_unroutable(&error) => before,
        _ => error,
    }
}

fn is_unroutable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::Unsupported
    )
}

/// The Connection Attempt Delay that RFC 8305, section 8, recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::time::{Instant, sleep};

    use super::*;

    /// The behaviour of an address in a test. The port identifies the address.
    #[derive(Clone, Copy)]
    enum Script {
        Swallows,
        ConnectsAfter(u64),
        FailsAfter(u64, io::ErrorKind),
    }

    use Script::*;

    const V6: &str = "2001:db8::1";
    const V4: &str = "192.0.2.1";

    fn addresses(ips: &[&str]) -> Vec<SocketAddr> {
        let numbered = ips.iter().zip(0..);
        numbered
            .map(|(ip, port)| SocketAddr::new(ip.parse().expect("address"), port))
            .collect()
    }

    /// A guard that counts the attempts in progress.
    struct Counted<'a>(&'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    /// Runs a race between scripted addresses of alternating families. Returns the port of the
    /// winner and the duration of the race in milliseconds.
    async fn run(scripts: &[Script]) -> (io::Result<u16>, u128) {
        let ips: Vec<_> = [V6, V4].into_iter().cycle().take(scripts.len()).collect();
        let began = Instant::now();
        let running = AtomicUsize::new(0);
        let result = race(addresses(&ips), |address| {
            running.fetch_add(1, Relaxed);
            let counted = Counted(&running);
            let script = scripts[usize::from(address.port())];
            async move {
                let _counted = counted;
                match script {
                    Swallows => pending().await,
                    ConnectsAfter(time) => {
                        sleep(Duration::from_millis(time)).await;
                        Ok(address.port())
                    }
                    FailsAfter(time, kind) => {
                        sleep(Duration::from_millis(time)).await;
                        Err(kind.into())
                    }
                }
            }
        })
        .await;
        assert_eq!(running.load(Relaxed), 0, "the losers are dropped");
        (result, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_packets_costs_one_delay() {
        for scripts in [
            &[Swallows, ConnectsAfter(10)][..],
            &[Swallows, ConnectsAfter(10), Swallows],
        ] {
            let (result, took) = run(scripts).await;
            assert_eq!(result.expect("connected"), 1);
            assert_eq!(took, 260);
        }
        let (result, took) = run(&[Swallows, Swallows, Swallows, ConnectsAfter(0)]).await;
        assert_eq!(result.expect("connected"), 3);
        assert!((750..760).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_fails_starts_the_next_one_at_once() {
        let refused = FailsAfter(1, io::ErrorKind::ConnectionRefused);
        let (result, took) = run(&[refused, refused, ConnectsAfter(5)]).await;
        assert_eq!(result.expect("connected"), 2);
        assert!(took < 20, "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_still_wins_if_the_others_are_slower() {
        let (result, took) = run(&[ConnectsAfter(400), ConnectsAfter(300)]).await;
        assert_eq!(result.expect("connected"), 0);
        assert!((400..410).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_fail_the_most_useful_error_is_returned() {
        let refused = FailsAfter(300, io::ErrorKind::ConnectionRefused);
        let unroutable = FailsAfter(1, io::ErrorKind::NetworkUnreachable);
        for scripts in [[refused, unroutable], [unroutable, refused]] {
            let (result, _) = run(&scripts).await;
            let kind = result.expect_err("all fail").kind();
            assert_eq!(kind, io::ErrorKind::ConnectionRefused);
        }
        let (result, _) = run(&[unroutable, unroutable]).await;
        let kind = result.expect_err("all fail").kind();
        assert_eq!(kind, io::ErrorKind::NetworkUnreachable);
    }

    #[test]
    fn the_families_alternate_from_the_preferred_one_on() {
        for (given, expected) in [
            (&[V6, V6, V6, V4][..], &[0, 3, 1, 2][..]),
            (&[V4, V4, V6], &[0, 2, 1]),
            (&[V4, V6, V4, V6], &[0, 1, 2, 3]),
            (&[V4], &[0]),
        ] {
            let order = interleave(addresses(given));
            let ports: Vec<_> = order.iter().map(SocketAddr::port).collect();
            assert_eq!(ports, expected, "{given:?}");
        }
    }
}
