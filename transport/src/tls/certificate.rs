//! Reads names and times from certificates.

use std::time::{Duration, SystemTime};

use crate::{CertificateProblem, PeerCertificate, TlsError};

/// Reads a certificate that rustls has verified.
pub(super) fn read(der: &[u8]) -> Result<PeerCertificate, TlsError> {
    let unreadable = || CertificateProblem::Other("it cannot be read".to_owned());
    try_read(der).ok_or_else(|| TlsError::Certificate(unreadable()))
}

/// Returns the time at which a certificate expires.
pub(super) fn not_after(der: &[u8]) -> Option<SystemTime> {
    try_read(der).map(|certificate| certificate.not_after())
}

fn try_read(der: &[u8]) -> Option<PeerCertificate> {
    let mut body = Der(Der(Der(der).take(SEQUENCE)?).take(SEQUENCE)?);
    body.take(VERSION);
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // The serial number, the signature algorithm and the issuer.
        body.take(tag)?;
    }
    let mut validity = Der(body.take(SEQUENCE)?);
    validity.next()?;
    let (tag, time) = validity.next()?;
    let not_after = read_time(tag, time)?;
    let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            let mut extensions = Der(Der(content).take(SEQUENCE)?);
            while let Some(extension) = extensions.take(SEQUENCE) {
                read_names(Der(extension), &mut dns_names, &mut uris)?;
            }
        }
    }
    Some(PeerCertificate::new(der, dns_names, uris, not_after))
}

/// Appends the names of the extension if it is the subject alternative name.
fn read_names(
    mut extension: Der<'_>,
    dns_names: &mut Vec<String>,
    uris: &mut Vec<String>,
) -> Option<()> {
    if extension.take(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
        return Some(());
    }
    extension.take(BOOLEAN);
    let mut names = Der(Der(extension.take(OCTET_STRING)?).take(SEQUENCE)?);
    while let Some((tag, name)) = names.next() {
        let text = || std::str::from_utf8(name).ok().map(str::to_owned);
        match tag {
            DNS_NAME => dns_names.push(text()?),
            URI => uris.push(text()?),
            _ => {}
        }
    }
    Some(())
}

/// Reads a time in the form `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn read_time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let mut fields = [0; 5];
    for (index, field) in fields.iter_mut().enumerate() {
        *field = rest.get(index * 2..index * 2 + 2)?.parse().ok()?;
    }
    let [month, day, hour, minute, second]: [i64; 5] = fields;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March has its leap day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// A sequence of values in the encoding DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Returns the tag and the content of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let len = len
                    .iter()
                    .fold(0, |len, &byte| (len << 8) | usize::from(byte));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Returns the content of the next value if the value has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.next().map(|(_, content)| content)
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// The object identifier 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    #[test]
    fn the_names_and_the_end_of_a_certificate_are_read() {
        let key = KeyPair::generate().expect("key");
        for (year, seconds) in [(2031, 1_925_078_400), (2100, 4_102_531_200)] {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("params");
            let uri = "spiffe://example/agent".try_into().expect("uri");
            params.subject_alt_names.push(SanType::URI(uri));
            params
                .subject_alt_names
                .push(SanType::IpAddress([127, 0, 0, 1].into()));
            params.not_after = date_time_ymd(year, 1, 2);
            let certificate = params.self_signed(&key).expect("certificate");
            let read = read(certificate.der()).expect("it is readable");
            assert_eq!(read.dns_names(), ["a.example"]);
            assert_eq!(read.uris(), ["spiffe://example/agent"]);
            let after = read.not_after().duration_since(SystemTime::UNIX_EPOCH);
            assert_eq!(after.expect("after 1970").as_secs(), seconds);
            assert_eq!(read.der(), &certificate.der()[..]);
        }
    }

    #[test]
    fn no_prefix_of_a_certificate_is_accepted() {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("params");
        let certificate = params.self_signed(&key).expect("certificate");
        for len in 0..certificate.der().len() {
            assert!(read(&certificate.der()[..len]).is_err(), "{len}");
        }
    }
}
