//! A large integer, for the comparison of a decimal number with the midpoint between two floats.

use std::cmp::Ordering;

/// A nonnegative integer of bounded length, stored with the least significant limb first.
pub(super) struct Integer {
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
    /// Multiplies by `factor` and adds `summand`.
    pub(super) fn multiply_add(&mut self, factor: u64, summand: u64) {
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

    pub(super) fn multiply_by_power_of_five(&mut self, mut power: u64) {
        while power > 0 {
            let step = power.min(MAX_POWER_OF_FIVE);
            self.multiply_add(5_u64.pow(step as u32), 0);
            power -= step;
        }
    }

    pub(super) fn shift_left(&mut self, bits: u64) {
        let (limbs, bits) = ((bits / 64) as usize, bits % 64);
        self.multiply_add(1 << bits, 0);
        if self.len > 0 {
            self.limbs.copy_within(..self.len, limbs);
            self.limbs[..limbs].fill(0);
            self.len += limbs;
        }
    }

    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        (self.len.cmp(&other.len)).then_with(|| {
            let (ours, others) = (&self.limbs[..self.len], &other.limbs[..other.len]);
            ours.iter().rev().cmp(others.iter().rev())
        })
    }
}

/// The number of limbs of an [`Integer`]. The largest number in a comparison is a midpoint
/// multiplied by 5^1,100, which has about 2,700 bits.
const MAX_LIMBS: usize = 48;

/// The exponent of the largest power of five that fits into a `u64`.
const MAX_POWER_OF_FIVE: u64 = 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_carries_into_further_limbs() {
        let mut product = Integer::from(0);
        product.multiply_add(1, 1);
        product.multiply_by_power_of_five(50);
        let five_to_50 = 5_u128.pow(50);
        assert_eq!(product.limbs[0], five_to_50 as u64);
        assert_eq!(product.limbs[1], (five_to_50 >> 64) as u64);
        assert_eq!(product.len, 2);

        let mut shifted = Integer::from(3);
        shifted.shift_left(64 + 63);
        assert_eq!(shifted.limbs[..4], [0, 1 << 63, 1, 0]);
        assert_eq!(shifted.len, 3);
        assert_eq!(product.cmp(&shifted), Ordering::Less);
        assert_eq!(shifted.cmp(&shifted), Ordering::Equal);

        let mut zero = Integer::from(0);
        zero.shift_left(1000);
        assert_eq!((zero.len, zero.cmp(&product)), (0, Ordering::Less));
    }
}
