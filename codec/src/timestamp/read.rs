//! Parses timestamps.

use super::{
    Timestamp,
    calendar::{Date, MICROS_PER_DAY, MICROS_PER_SECOND},
};

/// Parses `2025-11-08T12:34:56`, optionally followed by six fractional digits and an offset without
/// seconds.
pub(super) fn canonical(text: &[u8]) -> Option<Timestamp> {
    let (clock, rest) = text.split_first_chunk::<19>()?;
    let [
        c1,
        c2,
        y1,
        y2,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        rest_of_clock @ ..,
    ] = *clock
    else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = rest_of_clock else {
        return None;
    };
    let year = two_digits(c1, c2)? * 100 + two_digits(y1, y2)?;
    let date = Date::new(year as u16, two_digits(m1, m2)?, two_digits(d1, d2)?)?;
    let (hours, minutes, seconds) = (
        two_digits(h1, h2)?,
        two_digits(n1, n2)?,
        two_digits(s1, s2)?,
    );
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let (micros, zone) = match *rest {
        [b'.', a, b, c, d, e, f, ref zone @ ..] => {
            let micros = (two_digits(a, b)? * 100 + two_digits(c, d)?) * 100 + two_digits(e, f)?;
            (Some(micros).filter(|micros| *micros != 0)?, zone)
        }
        _ => (0, rest),
    };
    let offset = match *zone {
        [] => None,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
            let seconds = i64::from(hours * 3600 + minutes * 60);
            if hours > 23 || minutes > 59 || (seconds == 0 && sign == b'-') {
                return None;
            }
            let east = if sign == b'+' { seconds } else { -seconds };
            Some(east * MICROS_PER_SECOND)
        }
        _ => return None,
    };
    let seconds = i64::from(hours * 3600 + minutes * 60 + seconds);
    Some(Timestamp {
        local: date.days() * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + i64::from(micros),
        offset,
    })
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens * 10 + ones))
}

/// Parses any text that Python's `datetime.fromisoformat` accepts (PROTOCOL 5.3).
pub(super) fn lenient(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(date_len(text.as_bytes()))?;
    let date = parse_date(date.as_bytes())?;
    let mut local = date.days() * MICROS_PER_DAY;
    let mut rest = rest.chars();
    if rest.next().is_none() {
        return Some(Timestamp {
            local,
            offset: None,
        });
    }
    let rest = rest.as_str();
    let split = rest.find(['+', '-', 'Z', 'z']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(split);
    local += parse_clock(clock.as_bytes())?;
    Some(Timestamp {
        local,
        offset: parse_zone(zone.as_bytes())?,
    })
}

/// Returns the length of the date. Any character can separate the date from the time, so the end of
/// the date follows only from the form of the date.
fn date_len(text: &[u8]) -> usize {
    let digits_from = |start: usize| {
        text[start..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    match (text.get(4), text.get(5)) {
        (Some(b'-'), Some(b'W')) => match text.get(8) {
            // The day of a week has one digit. If two digits follow, as in `2025-W45-06:00`, they
            // are the start of the time.
            Some(b'-') if text.get(10).is_some_and(u8::is_ascii_digit) => 8,
            Some(b'-') => 10,
            _ => 8,
        },
        (Some(b'-'), _) => 10,
        (Some(b'W'), _) if text.len() > 7 => match digits_from(7) {
            0 => 7,
            1 => 8,
            // An odd number of digits consists of a separator and the pairs of digits of the time,
            // so the date has no day.
            digits if digits % 2 == 1 => 7,
            _ => 8,
        },
        (Some(b'W'), _) => 7,
        _ => 8,
    }
}

fn parse_date(text: &[u8]) -> Option<Date> {
    let year = u16::try_from(number(text.get(..4)?)?).ok()?;
    match text.get(4..)? {
        [b'-', b'W', w1, w2] | [b'W', w1, w2] => Date::from_week(year, number(&[*w1, *w2])?, 1),
        [b'-', b'W', w1, w2, b'-', d] | [b'W', w1, w2, d] => {
            Date::from_week(year, number(&[*w1, *w2])?, number(&[*d])?)
        }
        [b'-', m1, m2, b'-', d1, d2] | [m1, m2, d1, d2] => {
            Date::new(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
        }
        _ => None,
    }
}

fn parse_zone(text: &[u8]) -> Option<Option<i64>> {
    match text {
        [] => Some(None),
        [b'Z' | b'z'] => Some(Some(0)),
        [b'+', clock @ ..] => parse_clock(clock).map(Some),
        [b'-', clock @ ..] => parse_clock(clock).map(|micros| Some(-micros)),
        _ => None,
    }
}

/// Parses a time such as `12`, `12:34`, `12:34:56` or `12:34:56.789` into microseconds since
/// midnight. The colons may be omitted.
fn parse_clock(text: &[u8]) -> Option<i64> {
    let colons = text.get(2) == Some(&b':');
    let mut fields = [0; 3];
    let mut rest = text;
    for (index, field) in fields.iter_mut().enumerate() {
        if index > 0 {
            match rest {
                [] => break,
                [b':', after @ ..] if colons => rest = after,
                [b'0'..=b'9', ..] if !colons => {}
                [b'.' | b',', ..] if index == 2 => return None,
                _ => return None,
            }
        }
        let (digits, after) = rest.split_at_checked(2)?;
        *field = number(digits)?;
        rest = after;
    }
    let [hours, minutes, seconds] = fields;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let fraction = match rest {
        [] => 0,
        [b'.' | b',', digits @ ..] if !digits.is_empty() => fraction_micros(digits)?,
        _ => return None,
    };
    Some(i64::from(hours * 3600 + minutes * 60 + seconds) * MICROS_PER_SECOND + fraction)
}

/// Converts fractional digits to microseconds. Like Python, it truncates after the sixth digit
/// instead of rounding.
fn fraction_micros(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let six = digits
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(6);
    Some(six.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}
