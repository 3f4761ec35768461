//! Options of TCP sockets.

use std::time::Duration;

use tokio::net::TcpStream;

/// How the system notices that the peer of a TCP connection is gone.
///
/// A machine that sleeps, loses power or moves to another network closes nothing. NAT routers and
/// load balancers forget connections that are silent for some minutes. Keepalive probes keep such a
/// connection known and end it if the peer stops answering them. They are sent by the system while
/// nothing else is in transit, so they cost the agents nothing.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire_transport::TcpOptions;
///
/// let options = TcpOptions::new()
///     .keepalive_idle(Duration::from_secs(30))
///     .user_timeout(Duration::from_secs(300));
/// ```
///
/// Systems without an option ignore it: [`user_timeout`](Self::user_timeout) works on Linux only,
/// and Windows has none of these options.
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

    /// Sets how long a connection is silent before the first keepalive probe. Default: 60 s.
    /// Durations from 1 s to 9 hours are possible; others are clamped.
    pub const fn keepalive_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the interval of the keepalive probes that follow an unanswered one. Default: 15 s.
    /// Durations from 1 s to 9 hours are possible; others are clamped.
    pub const fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how many keepalive probes may remain unanswered before the connection ends. Default: 4.
    /// Numbers from 1 to 127 are possible; others are clamped.
    ///
    /// On Linux the [`user_timeout`](Self::user_timeout) takes precedence over this number.
    pub const fn keepalive_probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Sets how long sent bytes and keepalive probes may remain unacknowledged before the connection
    /// ends (`TCP_USER_TIMEOUT`, on Linux only). Default: 120 s, the time that the default keepalive
    /// probes take. Zero stands for the system's default, which is about 15 minutes for sent bytes.
    ///
    /// The timeout also ends a connection whose peer is alive but has read nothing for that long
    /// while bytes for it are waiting.
    pub const fn user_timeout(mut self, timeout: Duration) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// Sets the options of a socket, and turns Nagle's algorithm off.
    pub(crate) fn apply(&self, stream: &TcpStream) {
        // Frames are written whole, so Nagle's algorithm adds latency and saves nothing. Setting an
        // option fails if the peer has gone, which the first read reports.
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
            // A listener of the system may have passed it on.
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

/// The bounds of Linux, which are the narrowest.
#[cfg(unix)]
const MIN_KEEPALIVE: Duration = Duration::from_secs(1);
#[cfg(unix)]
const MAX_KEEPALIVE: Duration = Duration::from_secs(32_767);
#[cfg(unix)]
const MAX_PROBES: u32 = 127;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn stream() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        TcpStream::connect(address).await.expect("connect")
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
