//! Parses decimal numbers as `f64` in bounded time, even for hostile input.

use std::cmp::Ordering;

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

/// The bounds of a number, which lies between `mantissa * 2^exponent` and `(mantissa + error) *
/// 2^exponent`.
struct Approximation {
    /// The mantissa, whose highest bit is set.
    mantissa: u128,
    exponent: i64,
    error: u128,
}

/// The result of rounding an [`Approximation`] to the nearest float.
#[derive(Clone, Copy)]
enum Rounded {
    /// The nearest float has these bits.
    Exactly(u64),
    /// The nearest float has these bits or is the next larger float.
    Between(u64),
}

impl Approximation {
    /// Approximates `head * 10^exponent`. `head` must not be 0, and `exponent` must be in range.
    fn new(head: u64, exponent: i64) -> Self {
        // 10^exponent = 2^exponent * 5^small * 5^(27 * step). All factors except the last are
        // exact.
        let (step, small) = (exponent.div_euclid(STEP), exponent.rem_euclid(STEP));
        let exact = u128::from(head) * u128::from(SMALL_POWERS_OF_FIVE[small as usize]);
        let zeros = exact.leading_zeros();
        let (high, low) = multiply(exact << zeros, POWERS_OF_FIVE[(step - FIRST_STEP) as usize]);
        let is_short = high >> 127 == 0;
        let mantissa = if is_short {
            high << 1 | low >> 127
        } else {
            high
        };
        Self {
            mantissa,
            exponent: exponent + floor_log2_of_power_of_five(step * STEP) + 1
                - i64::from(zeros)
                - i64::from(is_short),
            // The truncated power is too small by less than one unit in its last place, and so is
            // the truncated product. The shift doubles both errors. For step 0, the power and the
            // product are exact.
            error: if step == 0 { 0 } else { 4 },
        }
    }

    fn round(&self) -> Rounded {
        let power = self.exponent + 127;
        if power > MAX_POWER {
            return Rounded::Exactly(f64::INFINITY.to_bits());
        }
        // Subnormal numbers have fewer bits and always the smallest exponent.
        let missing = (MIN_POWER - power).max(0);
        let dropped = 127 - FRACTION_BITS as i64 + missing;
        if dropped > 128 {
            return Rounded::Exactly(0);
        }
        let kept = self.mantissa.checked_shr(dropped as u32).unwrap_or(0);
        let half = 1_u128 << (dropped - 1);
        let rest = self.mantissa & ((half - 1) | half);
        let below = if missing == 0 {
            // The hidden bit of `kept` adds one to the exponent field.
            (((power - MIN_POWER) as u64) << FRACTION_BITS) + kept as u64
        } else {
            kept as u64
        };
        if rest > half || (rest == half && self.error == 0 && below % 2 == 1) {
            Rounded::Exactly(below + 1)
        } else if rest + self.error <= half {
            Rounded::Exactly(below)
        } else {
            Rounded::Between(below)
        }
    }
}

/// Returns the upper and the lower half of the product of two numbers.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a_low * b_low;
    let first = a_high * b_low + (low >> 64);
    let second = a_low * b_high + (first & LOW);
    (
        a_high * b_high + (first >> 64) + (second >> 64),
        second << 64 | low & LOW,
    )
}

/// Returns the largest `n` with `2^n <= 5^power`, for powers in the range of floats.
fn floor_log2_of_power_of_five(power: i64) -> i64 {
    (power * 1_217_359) >> 19
}

/// A nonnegative integer of bounded length, stored with the least significant limb first.
struct Integer {
    limbs: [u64; MAX_LIMBS],
    len: usize,
}

impl From<u64> for Integer {
    fn from(number: u64) -> Self {
        let mut limbs = [0; MAX_LIMBS];
        limbs[0] = number;
        Self {
            limbs,
            len: usize::from(number != 0),
        }
    }
}

impl Integer {
    fn multiply_add(&mut self, factor: u64, summand: u64) {
        let mut carry = u128::from(summand);
        for limb in &mut self.limbs[..self.len] {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry > 0 {
            self.limbs[self.len] = carry as u64;
            self.len += 1;
        }
    }

    fn multiply_by_power_of_five(&mut self, mut power: u64) {
        while power > 0 {
            let step = power.min(STEP as u64);
            self.multiply_add(5_u64.pow(step as u32), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, bits: u64) {
        let (limbs, bits) = ((bits / 64) as usize, bits % 64);
        self.multiply_add(1 << bits, 0);
        if self.len > 0 {
            self.limbs.copy_within(..self.len, limbs);
            self.limbs[..limbs].fill(0);
            self.len += limbs;
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        (self.len.cmp(&other.len)).then_with(|| {
            let (ours, others) = (&self.limbs[..self.len], &other.limbs[..other.len]);
            ours.iter().rev().cmp(others.iter().rev())
        })
    }
}

/// The number of decimal digits that always fit into a `u64`.
const HEAD_DIGITS: usize = 19;

/// The maximum number of significant digits of the midpoint between two floats.
const MAX_DIGITS: usize = 768;

/// The number of limbs of an [`Integer`]. The largest number in a comparison is a midpoint
/// multiplied by 5^1,100, which has about 2,700 bits.
const MAX_LIMBS: usize = 48;

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
const FRACTION_BITS: u32 = 52;
const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
const EXPONENT_BIAS: i64 = 1075;
const MAX_POWER: i64 = 1023;
const MIN_POWER: i64 = -1022;

const EXACT_POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The step between the exponents in [`POWERS_OF_FIVE`]. 5^27 is the largest power of five that
/// fits into a `u64`.
const STEP: i64 = 27;
const FIRST_STEP: i64 = -13;

/// The powers of five from 5^0 to 5^26.
const SMALL_POWERS_OF_FIVE: [u64; STEP as usize] = {
    let mut powers = [1; STEP as usize];
    let mut power = 1;
    while power < powers.len() {
        powers[power] = 5 * powers[power - 1];
        power += 1;
    }
    powers
};

/// The upper 128 bits of 5^(27 * step), truncated, for each step from [`FIRST_STEP`].
const POWERS_OF_FIVE: [u128; 25] = [
    0x8049a4ac_0c5811ae_205b896d_777d6278,
    0xcf42894a_5dce35ea_52064cac_828675b9,
    0xa76c5823_38ed2621_af2af2b8_0af6f24e,
    0x873e4f75_e2224e68_5a7744a6_e804a291,
    0xda7f5bf5_90966848_af39a475_506a899e,
    0xb080392c_c4349dec_bd8d794d_96aacfb3,
    0x8e938662_882af53e_547eb47b_7282ee9c,
    0xe65829b3_046b0afa_0cb4a5a3_112a5112,
    0xba121a46_50e4ddeb_92f34d62_616ce413,
    0x964e858c_91ba2655_3a6a07f8_d510f86f,
    0xf2d56790_ab41c2a2_fae27299_423fb9c3,
    0xc428d05a_a4751e4c_aa97e14c_3c26b886,
    0x9e74d1b7_91e07e48_775ea264_cf55347d,
    0x80000000_00000000_00000000_00000000,
    0xcecb8f27_f4200f3a_00000000_00000000,
    0xa70c3c40_a64e6c51_999090b6_5f67d924,
    0x86f0ac99_b4e8dafd_69a028bb_3ded71a3,
    0xda01ee64_1a708de9_e80e6f48_20cc9495,
    0xb01ae745_b101e9e4_5ec05dcf_f72e7f8f,
    0x8e41ade9_fbebc27d_14588f13_be847307,
    0xe5d3ef28_2a242e81_8f1668c8_a86da5fa,
    0xb9a74a06_37ce2ee1_6d953e2b_d7173692,
    0x95f83d0a_1fb69cd9_4abdaf10_1564f98e,
    0xf24a01a7_3cf2dccf_bc633b39_673c8cec,
    0xc3b83581_09e84f07_0a862f80_ec4700c8,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(read_long(text).to_bits(), expected.to_bits(), "{text}");
    }

    #[test]
    fn table_holds_the_powers_of_five() {
        for (index, power) in POWERS_OF_FIVE.iter().enumerate() {
            let exponent = (index as i64 + FIRST_STEP) * STEP;
            let bits = floor_log2_of_power_of_five(exponent);
            // Check power * 2^(bits - 127) <= 5^exponent < (power + 1) * 2^(bits - 127) in integer
            // arithmetic.
            for (power, ordering) in [(*power, Ordering::Greater), (power + 1, Ordering::Less)] {
                let mut left = Integer::from(0);
                left.multiply_add(1, (power >> 64) as u64);
                left.shift_left(64);
                left.multiply_add(1, power as u64);
                let mut right = Integer::from(1);
                if exponent < 0 {
                    left.multiply_by_power_of_five(exponent.unsigned_abs());
                } else {
                    right.multiply_by_power_of_five(exponent.unsigned_abs());
                }
                let shift = bits - 127;
                if shift >= 0 {
                    left.shift_left(shift.unsigned_abs());
                } else {
                    right.shift_left(shift.unsigned_abs());
                }
                assert_ne!(left.cmp(&right), ordering, "5^{exponent}");
            }
        }
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
