//! Reads the quotas of a file.

use super::{entries::QuotaEntry, source::Source};
use crate::auth::{Quota, file::AuthFileError};

impl Source<'_> {
    pub(super) fn quota(&self, entry: &QuotaEntry) -> Result<Quota, AuthFileError> {
        let mut quota = Quota::new();
        for (value, set) in [
            (
                &entry.requests_per_minute,
                Quota::requests_per_minute as fn(Quota, u64) -> Quota,
            ),
            (&entry.burst, Quota::burst),
            (&entry.bytes_per_minute, Quota::bytes_per_minute),
        ] {
            let Some(value) = value else {
                continue;
            };
            if *value.get_ref() == 0 {
                return Err(self.error(value, "must be at least 1"));
            }
            quota = set(quota, *value.get_ref());
        }
        if let (Some(burst), None) = (&entry.burst, &entry.requests_per_minute) {
            return Err(self.error(burst, "burst needs requests_per_minute"));
        }
        if let Some(streams) = entry.streams {
            quota = quota.streams(streams);
        }
        Ok(quota)
    }
}
