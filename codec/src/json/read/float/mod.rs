//! Parses decimal numbers as `f64` in bounded time, even for hostile input.

mod approximation;
mod integer;

use std::cmp::Ordering;

use self::{
    approximation::{Approximation, FRACTION_BITS, Rounded},
    integer::Integer,
};

/// Parses a JSON number of any length as the nearest `f64`. Ties are rounded to even.
///
/// `digits` is the number of digits before the exponent. As in Python, a number outside the range
/// of `f64` becomes an infinity.
///
/// `str::parse` returns the same result and is fast for numbers with up to 19 digits. For longer
/// numbers that are close to the midpoint between two floats, `str::parse` takes up to a hundred
/// times as long, and a hostile peer could send only such numbers. This function rounds nearly all
/// such numbers with 128-bit arithmetic, and the rest with integers of bounded length.
pub(super) fn read(text: &str, digits: usize) -> f64 {
    if digits <= HEAD_DIGITS {
        // `parse` accepts every JSON number, so this never fails.
        return text.parse().unwrap_or(f64::NAN);
    }
    read_long(text)
}

fn read_long(text: &str) -> f64 {
    let (text, is_negative) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let magnitude = Decimal::scan(text.as_bytes()).to_f64();
    if is_negative { -magnitude } else { magnitude }
}

/// A decimal number without a sign. The value of the number is the integer formed by all digits,
/// multiplied by `10^exponent`.
struct Decimal<'a> {
    /// The digits, starting with the first nonzero digit and possibly including the decimal point.
    digits: &'a [u8],
    /// The number of digits, without the decimal point.
    count: usize,
    exponent: i64,
    /// The integer formed by the first [`HEAD_DIGITS`] digits.
    head: u64,
    /// Whether any digit after `head` is not zero.
    has_tail: bool,
}

impl<'a> Decimal<'a> {
    fn scan(text: &'a [u8]) -> Self {
        let zeros = |text: &[u8]| text.iter().take_while(|byte| **byte == b'0').count();
        let mut decimal = Self {
            digits: &[],
            count: 0,
            exponent: 0,
            head: 0,
            has_tail: false,
        };
        // JSON allows one leading zero.
        let mut start = zeros(text);
        let mut at = decimal.take_digits(text, start);
        if text.get(at) == Some(&b'.') {
            at += 1;
            let fraction = at;
            if decimal.count == 0 {
                at += zeros(&text[at..]);
                start = at;
            }
            at = decimal.take_digits(text, at);
            decimal.exponent = fraction as i64 - at as i64;
        }
        decimal.digits = &text[start.min(at)..at];
        if let Some(text) = text.get(at + 1..) {
            decimal.exponent += read_exponent(text);
        }
        decimal
    }

    /// Scans the digits from `start` and returns the position after the last digit.
    fn take_digits(&mut self, text: &[u8], start: usize) -> usize {
        let mut at = start;
        let mut room = HEAD_DIGITS.saturating_sub(self.count);
        while let Some(digit @ b'0'..=b'9') = text.get(at) {
            if room > 0 {
                self.head = self.head * 10 + u64::from(digit - b'0');
                room -= 1;
            } else {
                self.has_tail |= *digit != b'0';
            }
            at += 1;
        }
        self.count += at - start;
        at
    }

    fn to_f64(&self) -> f64 {
        if self.head == 0 {
            return 0.0;
        }
        let exponent = self.exponent_after(HEAD_DIGITS);
        if !self.has_tail && self.head <= MAX_EXACT_INTEGER {
            let power = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
            if let Some(power) = EXACT_POWERS_OF_TEN.get(power) {
                // Both operands are exact, so the result of the single operation is rounded
                // correctly.
                let head = self.head as f64;
                return if exponent < 0 {
                    head / power
                } else {
                    head * power
                };
            }
        }
        if exponent > MAX_EXPONENT {
            return f64::INFINITY;
        }
        if exponent < MIN_EXPONENT {
            return 0.0;
        }
        let low = Approximation::new(self.head, exponent).round();
        let high = if self.has_tail {
            // The exact value lies between `head` and `head + 1`.
            Approximation::new(self.head + 1, exponent).round()
        } else {
            low
        };
        match (low, high) {
            (Rounded::Exactly(low), Rounded::Exactly(high)) if low == high => f64::from_bits(low),
            (Rounded::Exactly(below) | Rounded::Between(below), _) => {
                self.compare_with_middle(below)
            }
        }
    }

    /// Returns the decimal exponent that applies to the integer formed by the first `kept` digits.
    fn exponent_after(&self, kept: usize) -> i64 {
        self.exponent + self.count.saturating_sub(kept) as i64
    }

    /// Rounds to the float with the bits `below` or to the next larger float by comparing the
    /// number with the exact midpoint between the two floats.
    fn compare_with_middle(&self, below: u64) -> f64 {
        let exponent = self.exponent_after(MAX_DIGITS);
        let (mut number, is_more) = self.to_integer();
        let (mut middle, binary_exponent) = middle_above(below);
        // Multiply both sides by the same powers of five and two, so that both become integers.
        if exponent >= 0 {
            number.multiply_by_power_of_five(exponent.unsigned_abs());
        } else {
            middle.multiply_by_power_of_five(exponent.unsigned_abs());
        }
        let shift = exponent - binary_exponent;
        if shift >= 0 {
            number.shift_left(shift.unsigned_abs());
        } else {
            middle.shift_left(shift.unsigned_abs());
        }
        let is_above = match number.cmp(&middle) {
            Ordering::Less => false,
            Ordering::Equal => is_more || below % 2 == 1,
            Ordering::Greater => true,
        };
        f64::from_bits(below + u64::from(is_above))
    }

    /// Returns the integer formed by the first [`MAX_DIGITS`] digits, and whether any other digit
    /// is not zero.
    fn to_integer(&self) -> (Integer, bool) {
        let mut integer = Integer::from(0);
        let (mut chunk, mut scale) = (0, 1);
        let mut digits = self.digits.iter().filter(|byte| **byte != b'.');
        for byte in digits.by_ref().take(MAX_DIGITS) {
            chunk = chunk * 10 + u64::from(byte - b'0');
            scale *= 10;
            if scale == CHUNK {
                integer.multiply_add(scale, chunk);
                (chunk, scale) = (0, 1);
            }
        }
        integer.multiply_add(scale, chunk);
        (integer, digits.any(|byte| *byte != b'0'))
    }
}

/// Parses the exponent after the `e`. The result saturates far outside the range of floats.
fn read_exponent(text: &[u8]) -> i64 {
    let (text, is_negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (text, false),
    };
    let exponent = text.iter().fold(0, |exponent: i64, byte| {
        (exponent * 10 + i64::from(byte - b'0')).min(LARGEST_EXPONENT)
    });
    if is_negative { -exponent } else { exponent }
}

/// Returns the midpoint between a float and the next larger float, as an integer and the exponent
/// of a power of two.
fn middle_above(bits: u64) -> (Integer, i64) {
    let (biased, fraction) = (bits >> FRACTION_BITS, bits & (HIDDEN_BIT - 1));
    let mantissa = if biased == 0 {
        fraction
    } else {
        fraction | HIDDEN_BIT
    };
    let exponent = biased.max(1) as i64 - EXPONENT_BIAS;
    (Integer::from(2 * mantissa + 1), exponent - 1)
}

/// The number of decimal digits that always fit into a `u64`.
const HEAD_DIGITS: usize = 19;

/// The maximum number of significant digits of the midpoint between two floats.
const MAX_DIGITS: usize = 768;

/// The factor by which an [`Integer`] is multiplied to append 19 digits at once.
const CHUNK: u64 = 10_000_000_000_000_000_000;

/// The largest decimal exponent of a finite float. Numbers from 1e309 become infinities.
const MAX_EXPONENT: i64 = 308;

/// The smallest decimal exponent for which the result can be nonzero. A number of 19 digits
/// multiplied by 1e-344 is less than half of the smallest float.
const MIN_EXPONENT: i64 = -343;

/// The value at which a parsed exponent saturates, which is far above the exponents of floats and
/// the number of digits in a frame.
const LARGEST_EXPONENT: i64 = 1_000_000_000_000;

const MAX_EXACT_INTEGER: u64 = 1 << 53;
const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
const EXPONENT_BIAS: i64 = 1075;

const EXACT_POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(read_long(text).to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn every_exponent_reads_as_the_standard_library_reads_it() {
        for exponent in -400..400 {
            for digits in [
                "1",
                "5",
                "9007199254740993",
                "12345000000000000692",
                "99999999999999999999",
            ] {
                check(&format!("{digits}e{exponent}"));
                check(&format!("-0.000{digits}E{exponent:+}"));
            }
        }
    }

    #[test]
    fn middles_between_floats_and_their_neighbours_are_exact() {
        let mut rng = fastrand::Rng::with_seed(7);
        let edges = [
            0,
            1,
            2,
            HIDDEN_BIT - 1,
            HIDDEN_BIT,
            f64::MAX.to_bits() - 1,
            f64::MAX.to_bits(),
        ];
        let random = std::iter::repeat_with(|| rng.u64(..f64::MAX.to_bits())).take(2_000);
        for bits in random.chain(edges) {
            let (float, next) = (f64::from_bits(bits), f64::from_bits(bits + 1));
            if next.is_infinite() {
                continue;
            }
            let middle = exact_middle(float, next);
            check(&middle);
            check(&format!("{middle}0000000000000000000000000001"));
            check(&format!("{}{}", middle, "0".repeat(800)));
            check(&format!("{}{}1", middle, "0".repeat(800)));
            let cut = middle.len() - 1;
            check(&middle[..cut]);
            check(&format!("{}499999999999999999999", &middle[..cut]));
        }
    }

    /// Returns all digits of the midpoint between two floats, computed digit by digit.
    fn exact_middle(float: f64, next: f64) -> String {
        // A float has at most 1,074 digits after the point, and a midpoint has one more.
        let (a, b) = (format!("{float:.1075}"), format!("{next:.1075}"));
        let (a, b) = (a.replace('.', ""), b.replace('.', ""));
        let width = a.len().max(b.len());
        let digits = |text: &str| -> Vec<u8> {
            format!("{text:0>width$}")
                .bytes()
                .map(|byte| byte - b'0')
                .collect()
        };
        let mut carry = 0;
        let mut sum = vec![0; width];
        for (place, (a, b)) in digits(&a).into_iter().zip(digits(&b)).enumerate().rev() {
            let digit = a + b + carry;
            sum[place] = digit % 10;
            carry = digit / 10;
        }
        let mut remainder = carry;
        let mut half = String::new();
        for digit in sum {
            let value = remainder * 10 + digit;
            half.push((b'0' + value / 2) as char);
            remainder = value % 2;
        }
        let point = width - 1075;
        format!("{}.{}", &half[..point], &half[point..])
    }

    #[test]
    fn random_numbers_read_as_the_standard_library_reads_them() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..100_000 {
            let digits: String = (0..rng.usize(1..40)).map(|_| rng.digit(10)).collect();
            let fraction: String = (0..rng.usize(1..40)).map(|_| rng.digit(10)).collect();
            let sign = if rng.bool() { "-" } else { "" };
            check(&format!("{sign}{digits}.{fraction}"));
            check(&format!("{sign}{digits}.{fraction}e{}", rng.i32(-380..380)));
            check(&format!(
                "{}",
                f64::from_bits(rng.u64(..f64::INFINITY.to_bits()))
            ));
        }
    }

    #[test]
    fn extreme_texts_are_read() {
        for text in [
            "0.0",
            "-0.0",
            "0e999999999999999999999",
            "1e999999999999999999999",
            "1e-999999999999999999999",
        ] {
            check(text);
        }
        check(&format!("0.{}1e100001", "0".repeat(100_000)));
        check(&format!("{}e-100000", "9".repeat(100_000)));
        check(&format!("1{}.0e-100000", "0".repeat(100_000)));
    }
}
