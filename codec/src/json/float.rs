//! Formats floats like Python.

/// Appends a float in the format of Python's `repr`, including `NaN` and `Infinity`, which standard
/// JSON does not have.
pub(super) fn write(float: f64, buffer: &mut Vec<u8>) {
    if float.is_nan() {
        return buffer.extend_from_slice(b"NaN");
    }
    if float.is_sign_negative() {
        buffer.push(b'-');
    }
    if float.is_infinite() {
        return buffer.extend_from_slice(b"Infinity");
    }
    if float == 0.0 {
        return buffer.extend_from_slice(b"0.0");
    }
    let mut shortest = zmij::Buffer::new();
    let mut digits = Digits::default();
    let exponent = digits.parse(shortest.format_finite(float.abs()));
    digits.write(exponent, buffer);
}

/// Appends a float in the shortest notation that a JSON reader accepts as the same float. No
/// notation of the float is shorter, so a float takes at most as many bytes as it took in the
/// payload from which it was read.
pub(super) fn write_compact(float: f64, buffer: &mut Vec<u8>) {
    if float.is_infinite() {
        // A number that is too large for a float reads as an infinity (PROTOCOL 4.7).
        return buffer.extend_from_slice(if float < 0.0 { b"-1e999" } else { b"1e999" });
    }
    let start = buffer.len();
    write(float, buffer);
    if float.is_nan() || float == 0.0 {
        return;
    }
    let mut shortest = zmij::Buffer::new();
    let mut digits = Digits::default();
    let exponent = digits.parse(shortest.format_finite(float.abs()));
    let mut exponential = Vec::with_capacity(Digits::MAX);
    if float < 0.0 {
        exponential.push(b'-');
    }
    exponential.extend_from_slice(&digits.bytes[..digits.len]);
    exponential.push(b'e');
    let last_exponent = exponent - (digits.len as i32 - 1);
    exponential.extend_from_slice(itoa::Buffer::new().format(last_exponent).as_bytes());
    if exponential.len() < buffer.len() - start {
        buffer.truncate(start);
        buffer.extend_from_slice(&exponential);
    }
}

/// The shortest sequence of digits that parses back to the same float, without leading or trailing
/// zeros.
#[derive(Default)]
struct Digits {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Digits {
    /// The maximum number of digits. A float needs at most 17 significant digits, and the longest
    /// notation without an exponent has 23 digits (1e22).
    const MAX: usize = 32;

    /// Extracts the digits from a number in any decimal notation and returns the decimal exponent
    /// of the first digit.
    fn parse(&mut self, text: &str) -> i32 {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut point = exponent.parse::<i32>().unwrap_or_default();
        let mut after_point = false;
        for byte in mantissa.bytes() {
            if byte == b'.' {
                after_point = true;
                continue;
            }
            let leading_zero = self.len == 0 && byte == b'0';
            // Count the digits before the point. Each zero directly after the point counts as -1.
            point += match (after_point, leading_zero) {
                (false, false) => 1,
                (true, true) => -1,
                _ => 0,
            };
            if !leading_zero && self.len < Self::MAX {
                self.bytes[self.len] = byte;
                self.len += 1;
            }
        }
        while self.len > 1 && self.bytes[self.len - 1] == b'0' {
            self.len -= 1;
        }
        point - 1
    }

    fn write(&self, exponent: i32, buffer: &mut Vec<u8>) {
        let digits = &self.bytes[..self.len];
        if !(FIRST_PLAIN_EXPONENT..FIRST_LARGE_EXPONENT).contains(&exponent) {
            buffer.push(digits[0]);
            if digits.len() > 1 {
                buffer.push(b'.');
                buffer.extend_from_slice(&digits[1..]);
            }
            buffer.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.unsigned_abs() < 10 {
                buffer.push(b'0');
            }
            buffer.extend_from_slice(
                itoa::Buffer::new()
                    .format(exponent.unsigned_abs())
                    .as_bytes(),
            );
        } else if exponent < 0 {
            buffer.extend_from_slice(b"0.");
            write_zeros(exponent.unsigned_abs() as usize - 1, buffer);
            buffer.extend_from_slice(digits);
        } else {
            let whole = exponent.unsigned_abs() as usize + 1;
            let split = whole.min(digits.len());
            buffer.extend_from_slice(&digits[..split]);
            write_zeros(whole - split, buffer);
            buffer.push(b'.');
            buffer.extend_from_slice(if split < digits.len() {
                &digits[split..]
            } else {
                b"0"
            });
        }
    }
}

fn write_zeros(count: usize, buffer: &mut Vec<u8>) {
    buffer.resize(buffer.len() + count, b'0');
}

/// The smallest decimal exponent for which Python omits the exponent part (PROTOCOL 4.5).
const FIRST_PLAIN_EXPONENT: i32 = -4;

/// The smallest decimal exponent above this range, for which Python writes the exponent part again.
const FIRST_LARGE_EXPONENT: i32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(float: f64) -> String {
        let mut buffer = Vec::new();
        write(float, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (float, expected) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (100.0, "100.0"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (1e-5, "1e-05"),
            (1.5e-5, "1.5e-05"),
            (1e15, "1000000000000000.0"),
            (1_234_567_890_123_456.0, "1234567890123456.0"),
            (123_456_789_012_345.67, "123456789012345.67"),
            (1e16, "1e+16"),
            (12_345_678_901_234_568.0, "1.2345678901234568e+16"),
            (1e22, "1e+22"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::NAN, "NaN"),
            (-f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(written(float), expected);
        }
    }

    #[test]
    fn every_power_of_ten_parses_back_to_the_same_float() {
        for exponent in -324..=308 {
            for mantissa in ["1", "1.5", "9.999999999999999"] {
                let float: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
                assert_eq!(
                    written(float).parse::<f64>().unwrap().to_bits(),
                    float.to_bits()
                );
            }
        }
    }
}
