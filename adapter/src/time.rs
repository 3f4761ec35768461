use std::time::Duration;

/// The longest that anything waits. More would be as good as for ever, and overflow the clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
