//! Options for TCP sockets.

use std::time::Duration;

use tokio::net::TcpStream;

/// Options for how the system detects that the peer of a TCP connection is gone.
///
/// A machine that goes to sleep, loses power or moves to another network does not close its
/// connections. NAT routers and load balancers drop connections that are idle for a few minutes.
/// Keepalive probes prevent this, and they close the connection if the peer stops answering. The
/// system sends the probes only while the connection is idle, so they have no cost for the agents.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_transport as transport; }
/// use std::time::Duration;
///
/// use agentwire::transport::TcpOptions;
///
/// let options = TcpOptions::new()
///     .keepalive_idle(Duration::from_secs(30))
///     .user_timeout(Duration::from_secs(300));
/// ```
///
/// Options that a system does not support are ignored. [`user_timeout`](Self::user_timeout) is
/// supported only on Linux, and Windows supports none of these options.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct TcpOptions {
    keepalive: bool,
    idle: Duration,
    interval: Duration,
    probes: u32,
    user_timeout: Duration,
}

impl TcpOptions {
    /// Creates the default options.
    pub const fn new() -> Self {
        Self {
            keepalive: true,
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(15),
            probes: 4,
            user_timeout: Duration::from_secs(120),
        }
    }

    /// Sets whether the system sends keepalive probes. Default: true.
    pub const fn keepalive(mut self, enabled: bool) -> Self {
        self.keepalive = enabled;
        self
    }

    /// Sets the idle time before the first keepalive probe. Default: 60 s.
    ///
    /// The duration is clamped to the range from 1 s to about 9 hours.
    pub const fn keepalive_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the interval between keepalive probes after an unanswered probe. Default: 15 s.
    ///
    /// The duration is clamped to the range from 1 s to about 9 hours.
    pub const fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the number of unanswered keepalive probes after which the connection is closed.
    /// Default: 4.
    ///
    /// The number is clamped to the range from 1 to 127.
    ///
    /// On Linux, [`user_timeout`](Self::user_timeout) takes precedence over this number.
    pub const fn keepalive_probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Sets the time after which a connection is closed if sent bytes or keepalive probes are not
    /// acknowledged (`TCP_USER_TIMEOUT`, on Linux only). Default: 120 s, which equals the duration
    /// of the default keepalive probes.
    ///
    /// A timeout of zero selects the default of the system, which is about 15 minutes for sent
    /// bytes.
    ///
    /// The timeout also closes the connection if the peer is alive but reads nothing for this time
    /// while sent bytes are queued.
    pub const fn user_timeout(mut self, timeout: Duration) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// Sets the options of a socket and disables Nagle's algorithm.
    pub(crate) fn apply(&self, stream: &TcpStream) {
        // Each frame is sent with one write, so Nagle's algorithm would add latency without saving
        // packets. Ignore errors: setting an option fails only if the peer has closed the
        // connection, and the first read reports that.
        let _ = stream.set_nodelay(true);
        #[cfg(unix)]
        self.apply_timeouts(stream);
    }

    #[cfg(unix)]
    fn apply_timeouts(&self, stream: &TcpStream) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let timeout = self.user_timeout.as_millis().min(i32::MAX as u128) as u32;
            let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, timeout);
        }
        if self.keepalive {
            let _ = self.apply_keepalive(stream);
        } else {
            // The socket may have inherited the option from a listener that was created elsewhere.
            let _ = rustix::net::sockopt::set_socket_keepalive(stream, false);
        }
    }

    #[cfg(unix)]
    fn apply_keepalive(&self, stream: &TcpStream) -> rustix::io::Result<()> {
        use rustix::net::sockopt;

        #[cfg(not(target_os = "openbsd"))]
        {
            let clamp = |duration: Duration| duration.clamp(MIN_KEEPALIVE, MAX_KEEPALIVE);
            sockopt::set_tcp_keepidle(stream, clamp(self.idle))?;
            sockopt::set_tcp_keepintvl(stream, clamp(self.interval))?;
            sockopt::set_tcp_keepcnt(stream, self.probes.clamp(1, MAX_PROBES))?;
        }
        sockopt::set_socket_keepalive(stream, true)
    }
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The limits of Linux, which are the narrowest of all supported systems.
#[cfg(unix)]
const MIN_KEEPALIVE: Duration = Duration::from_secs(1);
#[cfg(unix)]
const MAX_KEEPALIVE: Duration = Duration::from_secs(32_767);
#[cfg(unix)]
const MAX_PROBES: u32 = 127;

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn stream() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn the_options_reach_the_socket() {
        let stream = stream().await;
        TcpOptions::new()
            .keepalive_idle(30 * SECOND)
            .keepalive_interval(5 * SECOND)
            .keepalive_probes(3)
            .user_timeout(40 * SECOND)
            .apply(&stream);
        assert!(sockopt::socket_keepalive(&stream).expect("option"));
        assert_eq!(sockopt::tcp_keepidle(&stream), Ok(30 * SECOND));
        assert_eq!(sockopt::tcp_keepintvl(&stream), Ok(5 * SECOND));
        assert_eq!(sockopt::tcp_keepcnt(&stream), Ok(3));
        assert_eq!(sockopt::tcp_user_timeout(&stream), Ok(40_000));
        TcpOptions::new().keepalive(false).apply(&stream);
        assert!(!sockopt::socket_keepalive(&stream).expect("option"));
    }

    #[tokio::test]
    async fn extreme_options_are_clamped_and_not_ignored() {
        for (extreme, idle, probes) in [
            (Duration::ZERO, MIN_KEEPALIVE, 1),
            (Duration::MAX, MAX_KEEPALIVE, MAX_PROBES),
        ] {
            let stream = stream().await;
            TcpOptions::new()
                .keepalive_idle(extreme)
                .keepalive_interval(extreme)
                .keepalive_probes(if probes == 1 { 0 } else { u32::MAX })
                .user_timeout(extreme)
                .apply(&stream);
            assert!(sockopt::socket_keepalive(&stream).expect("option"));
            assert_eq!(sockopt::tcp_keepidle(&stream), Ok(idle));
            assert_eq!(sockopt::tcp_keepintvl(&stream), Ok(idle));
            assert_eq!(sockopt::tcp_keepcnt(&stream), Ok(probes));
            let timeout = sockopt::tcp_user_timeout(&stream).expect("option");
            assert_eq!(timeout == 0, extreme.is_zero());
        }
    }
}
