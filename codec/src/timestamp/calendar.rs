//! Conversions between dates of the Gregorian calendar and day numbers.

/// A day of the proleptic Gregorian calendar, in the years 1 to 9999 that Python supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Date {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

impl Date {
    pub(crate) const MIN: Self = Self {
        year: 1,
        month: 1,
        day: 1,
    };
    pub(crate) const MAX: Self = Self {
        year: 9999,
        month: 12,
        day: 31,
    };

    pub(crate) fn new(year: u16, month: u32, day: u32) -> Option<Self> {
        let month = u8::try_from(month)
            .ok()
            .filter(|month| (1..=12).contains(month))?;
        let day = u8::try_from(day)
            .ok()
            .filter(|day| (1..=days_in(year, month)).contains(day))?;
        (1..=9999)
            .contains(&year)
            .then_some(Self { year, month, day })
    }

    /// Creates a date from an ISO 8601 week. Week 1 is the week with the first Thursday of the
    /// year.
    pub(crate) fn from_week(year: u16, week: u32, day: u32) -> Option<Self> {
        if !(1..=9999).contains(&year) || !(1..=53).contains(&week) || !(1..=7).contains(&day) {
            return None;
        }
        let monday_of_week_1 = |year: u16| {
            let january_4 = Self {
                year,
                month: 1,
                day: 4,
            }
            .days();
            january_4 - weekday(january_4)
        };
        let monday = monday_of_week_1(year) + i64::from(week - 1) * 7;
        if week == 53 && monday >= monday_of_week_1(year + 1) {
            return None;
        }
        let days = monday + i64::from(day - 1);
        (Self::MIN.days()..=Self::MAX.days())
            .contains(&days)
            .then(|| Self::from_days(days))
    }

    /// Returns the number of days since 1970-01-01.
    ///
    /// The computation starts each year in March, so that the leap day is the last day of the year.
    pub(crate) fn days(self) -> i64 {
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let before_month = (153 * month + 2) / 5;
        year * 365 + year / 4 - year / 100 + year / 400 + before_month + i64::from(self.day)
            - 1
            - MARCH_0000_TO_1970
    }

    /// Returns the date that is `days` after 1970-01-01, the inverse of [`days`](Self::days). The
    /// date must lie in the years 1 to 9999.
    pub(crate) fn from_days(days: i64) -> Self {
        // The number is positive and below four million, so it fits into 32 bits, which divide
        // faster.
        let days = (days + MARCH_0000_TO_1970) as u32;
        let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
        let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let january = month >= 10;
        Self {
            year: (era * 400 + year_of_era + u32::from(january)) as u16,
            month: (if january { month - 9 } else { month + 3 }) as u8,
            day: day as u8,
        }
    }
}

/// Returns the day of the week; Monday is 0.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;

pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// The number of days in 400 years of the Gregorian calendar.
const DAYS_PER_ERA: u32 = 146_097;

/// The number of days from 0000-03-01 to 1970-01-01.
const MARCH_0000_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_converts_both_ways() {
        let mut expected = Date::MIN;
        for days in Date::MIN.days()..=Date::MAX.days() {
            assert_eq!(Date::from_days(days), expected);
            assert_eq!(expected.days(), days);
            expected = next(expected);
        }
        assert_eq!(
            expected.year, 10_000,
            "the calendar ends where Python's does"
        );
    }

    fn next(date: Date) -> Date {
        let Date { year, month, day } = date;
        if day < days_in(year, month) {
            Date {
                day: day + 1,
                ..date
            }
        } else if month < 12 {
            Date {
                year,
                month: month + 1,
                day: 1,
            }
        } else {
            Date {
                year: year + 1,
                month: 1,
                day: 1,
            }
        }
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        assert_eq!(Date::from_week(2025, 45, 6), Date::new(2025, 11, 8));
        assert_eq!(Date::from_week(2025, 1, 1), Date::new(2024, 12, 30));
        assert_eq!(Date::from_week(2020, 53, 7), Date::new(2021, 1, 3));
        assert_eq!(Date::from_week(2025, 53, 1), None);
        assert_eq!(
            Date::from_week(9999, 52, 7),
            None,
            "it would lie in the year 10000"
        );
    }
}
