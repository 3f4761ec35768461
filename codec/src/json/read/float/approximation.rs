//! Approximates a decimal number with 128 bits, which suffice to round nearly all numbers.

/// The bounds of a number, which lies between `mantissa * 2^exponent` and `(mantissa + error) *
/// 2^exponent`.
pub(super) struct Approximation {
    /// The mantissa, whose highest bit is set.
    mantissa: u128,
    exponent: i64,
    error: u128,
}

/// The result of rounding an [`Approximation`] to the nearest float.
#[derive(Clone, Copy)]
pub(super) enum Rounded {
    /// The nearest float has these bits.
    Exactly(u64),
    /// The nearest float has these bits or is the next larger float.
    Between(u64),
}

impl Approximation {
    /// Approximates `head * 10^exponent`. `head` must not be 0, and `exponent` must be in range.
    pub(super) fn new(head: u64, exponent: i64) -> Self {
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

    pub(super) fn round(&self) -> Rounded {
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

/// The number of explicit bits of a float's mantissa.
pub(super) const FRACTION_BITS: u32 = 52;

const MAX_POWER: i64 = 1023;
const MIN_POWER: i64 = -1022;

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
    use std::cmp::Ordering;

    use super::{super::Integer, *};

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
}
