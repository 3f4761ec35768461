//! Checks that a text message is UTF-8, part by part.

/// The state of the check: the bytes of a character whose end has not arrived.
#[derive(Debug, Default)]
pub(super) struct TextCheck {
    incomplete: [u8; 4],
    len: usize,
}

impl TextCheck {
    /// Checks the next part. Returns whether the text can still be UTF-8.
    #[must_use]
    pub(super) fn push(&mut self, mut part: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&next, rest)) = part.split_first() else {
                return true;
            };
            self.incomplete[self.len] = next;
            self.len += 1;
            part = rest;
            match std::str::from_utf8(&self.incomplete[..self.len]) {
                Ok(_) => self.len = 0,
                // A character has at most 4 bytes, so the text is wrong before the array is full.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(part) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let rest = &part[error.valid_up_to()..];
                self.incomplete[..rest.len()].copy_from_slice(rest);
                self.len = rest.len();
                true
            }
            Err(_) => false,
        }
    }

    /// Returns whether the text may end here.
    #[must_use]
    pub(super) fn is_complete(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_across_all_cuts() {
        let text = "aé€😀z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut check = TextCheck::default();
                assert!(check.push(&text[..first]));
                assert!(check.push(&text[first..second]));
                assert!(check.push(&text[second..]));
                assert!(check.is_complete());
            }
        }
    }

    #[test]
    fn other_bytes_are_refused_and_a_cut_character_is_incomplete() {
        for bad in [&b"\xff"[..], b"a\xc3(", b"\xe2\x28\xa1", b"\xed\xa0\x80"] {
            let mut check = TextCheck::default();
            let fits = bad.iter().all(|&byte| check.push(&[byte]));
            assert!(!fits || !check.is_complete(), "{bad:x?}");
            assert!(!TextCheck::default().push(bad), "{bad:x?}");
        }
        let mut check = TextCheck::default();
        assert!(check.push(b"\xe2\x82"));
        assert!(!check.is_complete());
    }
}
