//! Tells whether a text is JSON.

/// Returns whether Python's `json.loads` accepts a text, apart from its limits for nesting and for
/// the length of integers.
///
/// The JSON reader of the codec does not answer this question: it refuses deep nesting and lone
/// surrogates, which other readers accept.
pub(crate) fn is_json(text: &str) -> bool {
    let mut scanner = Scanner {
        rest: text.as_bytes(),
    };
    scanner.document().is_some()
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    /// Scans one value and the end of the text.
    fn document(&mut self) -> Option<()> {
        // The brackets that are open. The stack replaces recursion, because a text can open any
        // number of brackets.
        let mut open = Vec::new();
        loop {
            self.space();
            match self.next()? {
                b'"' => self.string()?,
                b'[' => {
                    self.space();
                    if !self.take(b"]") {
                        open.push(b'[');
                        continue;
                    }
                }
                b'{' => {
                    self.space();
                    if !self.take(b"}") {
                        open.push(b'{');
                        self.key()?;
                        continue;
                    }
                }
                b't' => self.expect(b"rue")?,
                b'f' => self.expect(b"alse")?,
                b'n' => self.expect(b"ull")?,
                b'N' => self.expect(b"aN")?,
                b'I' => self.expect(b"nfinity")?,
                b'-' if self.take(b"Infinity") => {}
                b'-' => {
                    let digit = self.next()?;
                    self.number(digit)?;
                }
                digit => self.number(digit)?,
            }
            // A value is complete, and so are the containers that end after it.
            loop {
                self.space();
                match (open.last(), self.rest.first()) {
                    (None, None) => return Some(()),
                    (Some(b'['), Some(b']')) | (Some(b'{'), Some(b'}')) => {
                        self.next()?;
                        open.pop();
                    }
                    (Some(b'['), Some(b',')) => {
                        self.next()?;
                        break;
                    }
                    (Some(b'{'), Some(b',')) => {
                        self.next()?;
                        self.space();
                        self.key()?;
                        break;
                    }
                    _ => return None,
                }
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.expect(b"\"")?;
        self.string()?;
        self.space();
        self.expect(b":")
    }

    /// Scans a string after its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let (digits, rest) = self.rest.split_first_chunk::<4>()?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                        self.rest = rest;
                    }
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// Scans a number after its first digit.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.take(b".") {
            self.some_digits()?;
        }
        if self.take(b"e") || self.take(b"E") {
            let _ = self.take(b"+") || self.take(b"-");
            self.some_digits()?;
        }
        Some(())
    }

    fn some_digits(&mut self) -> Option<()> {
        let first = self.next()?;
        self.digits();
        first.is_ascii_digit().then_some(())
    }

    fn digits(&mut self) {
        let other = self.rest.iter().position(|byte| !byte.is_ascii_digit());
        self.rest = &self.rest[other.unwrap_or(self.rest.len())..];
    }

    fn space(&mut self) {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let other = self.rest.iter().position(|byte| !is_space(byte));
        self.rest = &self.rest[other.unwrap_or(self.rest.len())..];
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn expect(&mut self, expected: &[u8]) -> Option<()> {
        self.take(expected).then_some(())
    }

    fn take(&mut self, expected: &[u8]) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn what_python_parses_is_json() {
        for text in [
            "42",
            "-0",
            "0.5e-7",
            "1E+3",
            "null",
            "true",
            "false",
            "NaN",
            "Infinity",
            "-Infinity",
            r#""q""#,
            r#""\ud800 \u00E9 \n""#,
            " \t\r\n[ ]\n",
            "[1, [2, {}], \"]\"]",
            r#"{"a": {"b" : [] } , "c": 1}"#,
            "\"\u{7f}\u{2028}\"",
        ] {
            assert!(is_json(text), "{text}");
        }
        assert!(is_json(&("[".repeat(100_000) + "1" + &"]".repeat(100_000))));
    }

    #[test]
    fn what_python_does_not_parse_is_not_json() {
        for text in [
            "",
            " ",
            "hello",
            "007",
            "1.",
            ".5",
            "+1",
            "-",
            "- 1",
            "1e",
            "1 2",
            "nul",
            "nullx",
            "True",
            "inf",
            "-NaN",
            "[1,]",
            "[1 2]",
            "[",
            "]",
            "[}",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{a: 1}",
            "{\"a\": 1,}",
            "{1: 1}",
            "\"open",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "'q'",
            "\u{feff}1",
            "\u{a0}1",
            "42 apples",
            "[draft] hello",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }
}
