use std::time::Duration;

/// How long to wait before the next try: longer each time, and not the same for everybody.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Between half of the next wait and all of it, so that those who lost the same Redis do not come back at once.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit() {
        let mut backoff = Backoff::new();
        let mut longest = FIRST;
        for _ in 0..100 {
            let wait = backoff.wait();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?}");
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST);
    }
}
