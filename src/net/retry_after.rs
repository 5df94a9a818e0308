//! `Retry-After`: seconds, or a date in one of HTTP's three forms (RFC 9110, section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No wait is taken to be longer.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait. Dates are compared with the server's own clock if it says what that shows
/// (`Date`), and with this machine's otherwise.
pub(crate) fn parse(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is too large to be read is long.
        value.parse().map_or(MOST, Duration::from_secs)
    } else {
        let until = seconds_of(value)?;
        let here = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = date.and_then(seconds_of).unwrap_or_else(here);
        Duration::from_secs(until.saturating_sub(now))
    };
    Some(wait.min(MOST))
}

/// Seconds from 1970 to a date.
fn seconds_of(date: &str) -> Option<u64> {
    let mut words = date.split([' ', ',', '-']).filter(|word| !word.is_empty());
    // The day of the week says nothing new.
    words.next()?;
    let mut next = || words.next();
    let (day, month, year, time) = match (next()?, next()?, next()?, next()?, next()) {
        (day, month, year, time, Some("GMT")) => (day, month, year, time),
        (month, day, time, year, None) => (day, month, year, time),
        _ => return None,
    };
    if words.next().is_some() {
        return None;
    }
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let day = number(day, 1..=31)?;
    let year = match (year.len(), number(year, 0..=9999)?) {
        (2, year @ 0..70) => 2000 + year,
        (2, year) => 1900 + year,
        (4, year @ 1970..) => year,
        _ => return None,
    };
    let mut parts = time.split(':');
    let mut part = |most| number(parts.next()?, 0..=most);
    let (hours, minutes, seconds) = (part(23)?, part(59)?, part(60)?);
    if parts.next().is_some() {
        return None;
    }
    Some(((days_before(year, month) + day - 1) * 24 + hours) * 3600 + minutes * 60 + seconds)
}

fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let is_short = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_short && range.contains(number))
}

/// Days from 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let leap_days = |years: u64| years / 4 - years / 100 + years / 400;
    let is_leap = leap_days(year) > leap_days(year - 1);
    let of_years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let of_months = (1..month).map(|month| match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    });
    of_years + of_months.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Thu, 26 Nov 2026 12:00:00 GMT";

    fn wait(value: &str) -> Option<u64> {
        parse(value, Some(NOW)).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        for (value, expected) in [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("86400", Some(86_400)),
            ("Thu, 26 Nov 2026 12:00:30 GMT", Some(30)),
            ("Thursday, 26-Nov-26 12:01:00 GMT", Some(60)),
            ("Thu Nov 26 13:00:00 2026", Some(3600)),
            // What has passed is now.
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            // Longer than a day is a day.
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Fri, 31 Dec 9999 23:59:60 GMT", Some(86_400)),
        ] {
            assert_eq!(wait(value), expected, "{value}");
        }
    }

    #[test]
    fn anything_else_is_no_wait() {
        for value in [
            "",
            "-1",
            "+1",
            "1.5",
            "soon",
            "1 2",
            "Thu, 26 Nov 2026 12:00:30",
            "Thu, 26 Nov 2026 12:00:30 CET",
            "Thu, 26 Nov 2026 12:00:30 GMT GMT",
            "Thu, 26 Nov 2026 24:00:00 GMT",
            "Thu, 26 Nov 2026 12:60:00 GMT",
            "Thu, 26 Nov 2026 12:00 GMT",
            "Thu, 26 Nov 2026 12:00:00:00 GMT",
            "Thu, 32 Nov 2026 12:00:00 GMT",
            "Thu, 26 Nov 1969 12:00:00 GMT",
            "Thu, 26 Nov 20266 12:00:00 GMT",
            "Thu, 26 nov 2026 12:00:00 GMT",
            "Thu, é6 Nov 2026 12:00:00 GMT",
        ] {
            assert_eq!(wait(value), None, "{value}");
        }
    }

    #[test]
    fn dates_are_counted_from_1970() {
        for (date, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Fri, 31 Dec 2100 23:59:59 GMT", 4_133_980_799),
        ] {
            assert_eq!(seconds_of(date), Some(expected), "{date}");
        }
    }

    #[test]
    fn without_the_servers_clock_this_machines_counts() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(Duration::ZERO));
        assert_eq!(parse("Fri, 31 Dec 9999 23:59:59 GMT", Some("no date")), Some(MOST));
    }
}
