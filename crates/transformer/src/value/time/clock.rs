//! How the times of a source are read that do not say all.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::forms::{Form, Order, Zone};

/// What is not certain of a time that stands all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It has no zone, and none is configured: UTC.
    AssumedUtc,
    /// Its zone has this hour twice, or never, since clocks are set then: the earlier instant.
    RepeatedHour,
    /// It lies before 2010 or more than a day ahead.
    FarOff,
}

/// Letters that stand for one zone wherever they are printed, with hours and minutes before or behind UTC: those of RFC 2822 save
/// `CST`, which is China's too, and of zones whose letters nobody else has.
const LETTERS: [(&str, i32, i32); 28] = [
    ("AEDT", 11, 0),
    ("AEST", 10, 0),
    ("CAT", 2, 0),
    ("CDT", -5, 0),
    ("CEST", 2, 0),
    ("CET", 1, 0),
    ("EAT", 3, 0),
    ("EDT", -4, 0),
    ("EEST", 3, 0),
    ("EET", 2, 0),
    ("EST", -5, 0),
    ("HKT", 8, 0),
    ("JST", 9, 0),
    ("KST", 9, 0),
    ("MDT", -6, 0),
    ("MSK", 3, 0),
    ("MST", -7, 0),
    ("NPT", 5, 45),
    ("NZDT", 13, 0),
    ("NZST", 12, 0),
    ("PDT", -7, 0),
    ("PKT", 5, 0),
    ("PST", -8, 0),
    ("SAST", 2, 0),
    ("SGT", 8, 0),
    ("WEST", 1, 0),
    ("WET", 0, 0),
    ("WIB", 7, 0),
];

/// What is configured of a source's times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    /// Of times without a zone; UTC where it is none.
    pub(crate) zone: Option<TimeZone>,
    /// Of day and month where both are numbers.
    pub(crate) order: Option<Order>,
}

impl Clock {
    /// The instant of a text, and what is not certain of it; none where its letters are no zone for certain.
    pub(super) fn instant(&self, Form { at, zone }: Form<'_>) -> Option<(Timestamp, Option<Doubt>)> {
        match zone {
            Zone::Unsaid => match &self.zone {
                Some(zone) => local(zone, at),
                None => Some((TimeZone::UTC.to_timestamp(at).ok()?, Some(Doubt::AssumedUtc))),
            },
            Zone::Offset(offset) => Some((offset.to_timestamp(at).ok()?, None)),
            Zone::Named(name) => local(&TimeZone::get(name).ok()?, at),
            Zone::Letters(letters) => Some((self.by_letters(letters, at)?, None)),
        }
    }

    fn by_letters(&self, letters: &str, at: DateTime) -> Option<Timestamp> {
        if let Some((_, hours, minutes)) = LETTERS.iter().find(|known| known.0 == letters) {
            return Offset::from_seconds(hours * 3600 + minutes * 60).ok()?.to_timestamp(at).ok();
        }
        // the configured zone's own
        let zone = self.zone.as_ref()?;
        let found = zone.to_timestamp(at).ok()?;
        (zone.to_offset_info(found).abbreviation() == letters).then_some(found)
    }
}

/// The instant of a time as clocks of a zone show it.
fn local(zone: &TimeZone, at: DateTime) -> Option<(Timestamp, Option<Doubt>)> {
    let found = zone.to_ambiguous_timestamp(at);
    let doubt = found.is_ambiguous().then_some(Doubt::RepeatedHour);
    Some((found.compatible().ok()?, doubt))
}
