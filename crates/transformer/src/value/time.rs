//! When an event happened: as the body says it, in RFC 3339 and UTC, else when its webhook was received.
//!
//! What is read and how stands in [`forms`]; numbers are seconds, milliseconds, microseconds or nanoseconds since the epoch by their
//! size. What is not certain is not guessed: a number or a time without a zone that lies before 2010 or more than a day ahead is none.

mod clock;
mod forms;
mod skew;

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp, fmt::temporal::DateTimePrinter};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::forms::{Form, Zone};
pub(crate) use self::{
    clock::{Clock, Doubt},
    forms::Order,
    skew::ahead_ms,
};
use crate::json;

const MILLIS_A_DAY: i64 = 86_400_000;
/// Years that PostHog's store can hold.
const MIN_MS: i64 = 1;
const MAX_MS: i64 = 10_413_792_000_000; // 2300-01-01
/// Before it no event happened that a webhook tells of.
const FIRST_MS: i64 = 1_262_304_000_000; // 2010-01-01

static MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
static ALL_DIGITS: DateTimePrinter = DateTimePrinter::new();

/// A point in time, and the text it came as where that is RFC 3339 in UTC already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment<'a> {
    at: Timestamp,
    verbatim: Option<Cow<'a, str>>,
    /// It stands where the event's own time cannot be read.
    is_stand_in: bool,
    /// Milliseconds by which a clock that was wrong is corrected; 0 is not at all.
    shifted_ms: i64,
}

/// When a webhook came, by whose clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// When it was received.
    pub(crate) at_ms: i64,
    /// By how much the clock was ahead that dated what is in it.
    pub(crate) ahead_ms: i64,
}

impl Arrival {
    /// Of a webhook whose sender's clock is right.
    pub(crate) fn at(at_ms: i64) -> Self {
        Self { at_ms, ahead_ms: 0 }
    }
}

/// Why a value is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It has none of the forms.
    Form,
    /// Day and month could be exchanged.
    Ambiguous,
    /// A number or a time without a zone lies before 2010 or more than a day ahead.
    FarOff,
}

/// A value as a time, whatever its year.
struct Parsed<'a> {
    moment: Moment<'a>,
    /// The zone is part of it.
    is_certain: bool,
    doubt: Option<Doubt>,
}

impl<'a> Moment<'a> {
    fn new(at: Timestamp) -> Self {
        Self { at, verbatim: None, is_stand_in: false, shifted_ms: 0 }
    }

    /// A point in time by its milliseconds since the epoch.
    pub(crate) fn from_ms(ms: i64) -> Self {
        Self::new(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The time of arrival where the event's own cannot be read.
    pub(crate) fn in_place(received_at_ms: i64) -> Self {
        Self { is_stand_in: true, ..Self::from_ms(received_at_ms) }
    }

    /// The point `ms` before the epoch's `at`; none where that is out of reach.
    pub(crate) fn before(at: i64, ms: i64) -> Option<Self> {
        Some(at.checked_sub(ms)?).filter(|ms| is_in_reach(*ms)).map(Self::from_ms)
    }

    /// Reads a point in time from a JSON value of a webhook.
    pub(crate) fn read(raw: &'a str, clock: &Clock, arrival: Arrival) -> Result<(Self, Option<Doubt>), Unread> {
        let Parsed { moment, is_certain, doubt } = parse(raw, clock)?;
        let moment = moment.corrected(arrival.ahead_ms);
        let is_plausible = (FIRST_MS..=arrival.at_ms.saturating_add(MILLIS_A_DAY)).contains(&moment.ms());
        match (is_plausible, is_certain) {
            (false, false) => Err(Unread::FarOff),
            (false, true) => Ok((moment, Some(Doubt::FarOff))),
            (true, _) => Ok((moment, doubt)),
        }
    }

    /// Reads a point in time of any year.
    pub(crate) fn of_any_year(raw: &'a str, clock: &Clock) -> Option<Self> {
        parse(raw, clock).ok().map(|parsed| parsed.moment)
    }

    /// The instant.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Milliseconds since the epoch.
    pub(crate) fn ms(&self) -> i64 {
        self.at.as_millisecond()
    }

    /// The same, kept beyond its body.
    pub(crate) fn into_owned(self) -> Moment<'static> {
        let verbatim = self.verbatim.map(|text| Cow::Owned(text.into_owned()));
        Moment { verbatim, ..self }
    }

    /// The same as a clock would have said it that was right, of one that was `ahead_ms` ahead; as it is where that is
    /// out of reach.
    fn corrected(self, ahead_ms: i64) -> Self {
        if ahead_ms == 0 {
            return self;
        }
        let at = self.ms().checked_sub(ahead_ms).filter(|ms| is_in_reach(*ms));
        let at = at.and_then(|_| self.at.checked_sub(SignedDuration::from_millis(ahead_ms)).ok());
        match at {
            Some(at) => Self { shifted_ms: ahead_ms.saturating_neg(), ..Self::new(at) },
            None => self,
        }
    }

    /// Milliseconds by which a clock that was wrong was corrected; 0 is not at all.
    pub(crate) fn shifted_ms(&self) -> i64 {
        self.shifted_ms
    }

    /// Whether the text of the body is kept.
    pub(crate) fn is_verbatim(&self) -> bool {
        self.verbatim.is_some()
    }

    /// Whether it stands where the event's own time cannot be read.
    pub(crate) fn is_stand_in(&self) -> bool {
        self.is_stand_in
    }

    /// The day in UTC, by which PostHog collapses duplicates.
    pub(crate) fn day(&self) -> i64 {
        self.ms().div_euclid(MILLIS_A_DAY)
    }

    /// Appends the text in RFC 3339 and UTC, without quotes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(text) = &self.verbatim {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        let printer = if self.at.subsec_nanosecond() % 1_000_000 == 0 { &MILLISECONDS } else { &ALL_DIGITS };
        // a vector takes all that is written to it
        if printer.print_timestamp(&self.at, &mut *out).is_err() {
            out.extend_from_slice(b"1970-01-01T00:00:00.000Z");
        }
    }
}

/// As databases and their exports write it: `{"$date": …}`.
#[derive(Debug, Deserialize)]
struct Dated<'a> {
    #[serde(borrow, rename = "$date")]
    date: &'a RawValue,
}

#[derive(Debug, Deserialize)]
struct Long<'a> {
    #[serde(borrow, rename = "$numberLong")]
    number: &'a RawValue,
}

fn parse<'a>(raw: &'a str, clock: &Clock) -> Result<Parsed<'a>, Unread> {
    if json::is_object(raw) {
        let inner = serde_json::from_str::<Dated<'a>>(raw).map_err(|_no_date| Unread::Form)?.date.get();
        let long = serde_json::from_str::<Long<'a>>(inner).map(|long| long.number.get());
        let inner = long.unwrap_or(inner);
        return if json::is_object(inner) { Err(Unread::Form) } else { parse(inner, clock) };
    }
    if json::is_number(raw) {
        return of_number(raw, clock);
    }
    let text = json::string(raw).ok_or(Unread::Form)?;
    let checked = |at: Timestamp| if is_in_reach(at.as_millisecond()) { Ok(at) } else { Err(Unread::Form) };
    if is_rfc3339(&text) {
        let at = checked(text.parse().map_err(|_no_such_day| Unread::Form)?)?;
        let verbatim = text.ends_with('Z').then_some(text);
        return Ok(Parsed { moment: Moment { verbatim, ..Moment::new(at) }, is_certain: true, doubt: None });
    }
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit() || b".+-eE".contains(&byte)) && text.parse::<f64>().is_ok() {
        return of_number(text, clock);
    }
    // JavaScript puts another blank before the half of the day
    let text = text.replace(['\u{202f}', '\u{a0}'], " ");
    let form = forms::read(&text, clock.order).map_err(|unread| match unread {
        forms::Unread::Form => Unread::Form,
        forms::Unread::Ambiguous => Unread::Ambiguous,
    })?;
    of_form(form, clock)
}

fn of_form<'a>(form: Form<'_>, clock: &Clock) -> Result<Parsed<'a>, Unread> {
    let (at, doubt) = clock.instant(form).ok_or(Unread::Form)?;
    let is_certain = form.zone != Zone::Unsaid;
    if !is_in_reach(at.as_millisecond()) {
        return Err(Unread::Form);
    }
    Ok(Parsed { moment: Moment::new(at), is_certain, doubt })
}

/// A number since the epoch, or a date of digits alone.
fn of_number<'a>(text: &str, clock: &Clock) -> Result<Parsed<'a>, Unread> {
    if let Some(at) = forms::of_digits(text).filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())) {
        return of_form(Form { at, zone: Zone::Unsaid }, clock);
    }
    let moment = epoch(text).filter(|at| is_in_reach(at.as_millisecond())).map(Moment::new).ok_or(Unread::Form)?;
    Ok(Parsed { moment, is_certain: false, doubt: None })
}

fn is_in_reach(ms: i64) -> bool {
    (MIN_MS..MAX_MS).contains(&ms)
}

/// Seconds, milliseconds, microseconds or nanoseconds since the epoch: by what is from 1973 to 5138 in each.
fn epoch(text: &str) -> Option<Timestamp> {
    const FIRST: [(i128, i128); 3] =
        [(100_000_000_000_000_000, 1), (100_000_000_000_000, 1_000), (100_000_000_000, 1_000_000)];
    const SECOND: i128 = 1_000_000_000;
    // most are seconds
    if text.len() <= 10
        && let Ok(seconds) = text.parse::<i64>()
    {
        return Timestamp::from_second(seconds).ok();
    }
    if let Ok(whole) = text.parse::<i128>() {
        let nanos_each = FIRST.iter().find(|(first, _)| whole >= *first).map_or(SECOND, |(_, each)| *each);
        return Timestamp::from_nanosecond(whole.checked_mul(nanos_each)?).ok();
    }
    let number: f64 = text.parse().ok()?;
    let nanos_each = FIRST.iter().find(|(first, _)| number >= *first as f64).map_or(SECOND, |(_, each)| *each);
    // to the millisecond: a double holds no more of one in seconds
    let ms = number * (nanos_each as f64 / 1e6);
    (ms >= MIN_MS as f64 && ms < MAX_MS as f64).then(|| Timestamp::from_millisecond(ms.round() as i64).ok())?
}

/// Exactly `2026-08-20T10:11:12[.fraction](Z|±hh:mm)`, which every reader takes.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date, rest)) = bytes.split_at_checked(19) else { return false };
    let shape = date.iter().zip(b"dddd-dd-ddTdd:dd:dd").all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return false;
            }
            &rest[digits..]
        }
    };
    shape
        && match rest {
            [b'Z'] => true,
            [b'+' | b'-', h1, h2, b':', m1, m2] => {
                [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) && [*h1, *h2] < *b"24"
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests;
