//! MoEngage's filters of dates and times: `dateTimeFormatter`, `today` and `days`.
//!
//! A time without a zone is of the zone that the filter names, and is printed in it; a rule's `timestamp` that one of these prints is read
//! in the same zone. Source: MoEngage, "Jinja Templating Language" (18637864, read 2026-11): names of the arguments and one example of each.

use jiff::{
    Timestamp, ZonedDateTime,
    fmt::strtime::{self, BrokenDownTime},
    tz::{Offset, TimeZone},
};
use minijinja::{
    Error, ErrorKind, State, Value,
    machinery::ast::{CallArg, Expr},
    value::{Kwargs, Rest},
};

use super::{budget::BYTES_A_STEP, charged, like::like, names::Received};
use crate::value::time::{Clock, Moment, Order};

/// The arguments of `dateTimeFormatter` by their names.
const ARGUMENTS: [&str; 4] = ["toFormat", "fromFormat", "timeZone", "tzOffset"];

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// A point in time by a pattern of `strftime`.
pub(super) fn format(
    state: &State<'_, '_>,
    value: Value,
    pattern: Rest<Value>,
    named: Kwargs,
) -> Result<String, Error> {
    let pattern = match (named.get::<Option<String>>("toFormat")?, pattern.first()) {
        (Some(pattern), _) => pattern,
        (None, Some(pattern)) => charged::text(state, pattern)?,
        (None, None) => return Err(Error::from(ErrorKind::MissingArgument)),
    };
    let from = named.get::<Option<String>>("fromFormat")?;
    let zone = match (named.get::<Option<String>>("timeZone")?, named.get::<Option<Value>>("tzOffset")?) {
        (Some(name), _) => Some(zone_named(&name).map_err(invalid)?),
        (None, Some(offset)) => Some(zone_of_offset(&offset).map_err(invalid)?),
        (None, None) => None,
    };
    named.assert_all_used()?;
    let raw = charged::json(state, &value)?;
    let clock = Clock { zone: zone.clone(), order: None };
    let at = match from {
        None => Moment::of_any_year(&raw, &clock).map(|moment| moment.at()),
        Some(from) => by_pattern(&from, &charged::text(state, &value)?, &clock),
    };
    let at = at.ok_or_else(|| invalid("this is no point in time"))?;
    print(state, &pattern, at.to_zoned_datetime(zone.unwrap_or(TimeZone::UTC)))
}

/// The day on which the webhook was received, by a pattern, in a zone: it must not change when an event is sent again.
pub(super) fn today(state: &State<'_, '_>, pattern: String, zone: Option<String>) -> Result<String, Error> {
    let zone = zone.as_deref().map_or(Ok(TimeZone::UTC), zone_named).map_err(invalid)?;
    let received = Received::of(state).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let received = received.ok_or_else(|| invalid("it is not known when the webhook was received"))?;
    print(state, &pattern, received.to_zoned_datetime(zone))
}

/// The days from one date to another; day first where no order is configured, as on MoEngage's page.
pub(super) fn days(state: &State<'_, '_>, from: Value, to: Value) -> Result<i64, Error> {
    let order = if Received::is_month_first(state) { Order::MonthFirst } else { Order::DayFirst };
    let clock = Clock { zone: None, order: Some(order) };
    let date = |value: &Value| {
        let raw = charged::json(state, value)?;
        let moment = Moment::of_any_year(&raw, &clock).ok_or_else(|| invalid("this is no date"))?;
        Ok::<_, Error>(moment.at().to_zoned_datetime(TimeZone::UTC).date())
    };
    let (from, to) = (date(&from)?, date(&to)?);
    from.until(to).map(|span| i64::from(span.get_days())).map_err(|error| invalid(error.to_string()))
}

fn print(state: &State<'_, '_>, pattern: &str, at: ZonedDateTime) -> Result<String, Error> {
    // each of its letters may be filled up to a hundred
    charged::charge(state, pattern.len() * BYTES_A_STEP)?;
    strtime::format(pattern, &at).map_err(|error| invalid(error.to_string()))
}

/// Reads a text by a pattern of `strptime`.
fn by_pattern(pattern: &str, text: &str, clock: &Clock) -> Option<Timestamp> {
    let read = BrokenDownTime::parse(pattern, text.trim()).ok()?;
    if let Ok(at) = read.to_timestamp() {
        return Some(at);
    }
    let at = read.to_datetime().or_else(|_no_time| read.to_date().map(|date| date.at(0, 0, 0, 0))).ok()?;
    if says_utc(pattern) {
        return TimeZone::UTC.to_timestamp(at).ok();
    }
    clock.zone.as_ref().unwrap_or(&TimeZone::UTC).to_timestamp(at).ok()
}

/// Whether a pattern ends with the letter `Z`, which is a zone and stands for itself there.
fn says_utc(pattern: &str) -> bool {
    pattern.strip_suffix('Z').is_some_and(|rest| !rest.ends_with(['%', ':', '#']))
}

/// A zone by its name; what is wrong with the name, without it.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_unknown| {
        let zones: Vec<_> = jiff::tz::db().available().collect();
        let zones: Vec<_> = zones.iter().map(jiff::tz::TimeZoneName::as_str).collect();
        let hint = like(name, &zones).map_or_else(String::new, |zone| format!("; did you mean `{zone}`?"));
        format!("is no time zone of the tz database, as \"Asia/Kolkata\" is{hint}")
    })
}

fn zone_named(name: &str) -> Result<TimeZone, String> {
    zone(name).map_err(|wrong| format!("`{name}` {wrong}"))
}

/// Minutes before or behind UTC, or `+05:30`.
fn zone_of_offset(offset: &Value) -> Result<TimeZone, String> {
    let minutes = match (offset.as_i64(), offset.as_str()) {
        (Some(minutes), _) => Some(minutes),
        (None, Some(text)) => minutes_of(text),
        (None, None) => None,
    };
    let seconds = minutes.and_then(|minutes| i32::try_from(minutes.checked_mul(60)?).ok());
    let offset = seconds.and_then(|seconds| Offset::from_seconds(seconds).ok());
    offset
        .map(TimeZone::fixed)
        .ok_or_else(|| "tzOffset must be minutes, as 330, or hours and minutes, as \"+05:30\"".into())
}

fn minutes_of(text: &str) -> Option<i64> {
    let (sign, rest) = match text.trim().split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return text.trim().parse().ok(),
    };
    let digits = rest.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(digits.len().checked_sub(2)?)?;
    match digits.len() {
        4 => Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)),
        1..=3 if !rest.contains(':') => Some(sign * rest.parse::<i64>().ok()?),
        _ => None,
    }
}

/// What is wrong with the arguments of such a filter, as far as that is known before an event.
pub(super) fn check(filter: &str, arguments: &[CallArg<'_>]) -> Option<String> {
    if !["dateTimeFormatter", "today", "days"].contains(&filter) {
        return None;
    }
    let by_place: Vec<_> = arguments
        .iter()
        .filter_map(|argument| if let CallArg::Pos(value) = argument { Some(value) } else { None })
        .collect();
    let mut named = Vec::new();
    for argument in arguments {
        let CallArg::Kwarg(name, value) = argument else { continue };
        if filter != "dateTimeFormatter" || !ARGUMENTS.contains(name) {
            let known = if filter == "dateTimeFormatter" { ARGUMENTS.join(", ") } else { "none by name".to_string() };
            return Some(format!("`{filter}` has no argument `{name}`: it has {known}"));
        }
        named.push((*name, value.as_const()));
    }
    let constant = |name: &str| named.iter().find(|argument| argument.0 == name).and_then(|found| found.1.clone());
    let has = |name: &str| named.iter().any(|argument| argument.0 == name);
    match filter {
        "days" if by_place.is_empty() => Some("`days` needs the other date: '12/10/2026' | days('14/10/2026')".into()),
        "days" => None,
        "today" => zone_named(by_place.first()?.as_const()?.as_str()?).err(),
        _ if has("timeZone") && has("tzOffset") => {
            Some("`dateTimeFormatter` takes timeZone or tzOffset, not both: take one out".into())
        }
        _ => {
            let by_place = by_place.first().and_then(|pattern| pattern.as_const());
            if !has("toFormat") && arguments.iter().all(|argument| matches!(argument, CallArg::Kwarg(..))) {
                return Some("`dateTimeFormatter` needs a pattern: toFormat='%Y-%m-%d %H:%M:%S'".into());
            }
            let zone = constant("timeZone").map(|zone| zone.as_str().map(zone_named).unwrap_or(Ok(TimeZone::UTC)));
            let zone = zone.or_else(|| constant("tzOffset").map(|offset| zone_of_offset(&offset)));
            let to = constant("toFormat").or(by_place);
            zone.as_ref()
                .and_then(|zone| zone.as_ref().err().cloned())
                .or_else(|| wrong_pattern("toFormat", to.as_ref()?.as_str()?))
                .or_else(|| wrong_pattern("fromFormat", constant("fromFormat")?.as_str()?))
                .or_else(|| {
                    let is_utc = zone.and_then(Result::ok).is_none_or(|zone| zone == TimeZone::UTC);
                    let wrong = says_utc(to.as_ref()?.as_str()?) && !is_utc;
                    wrong.then(|| {
                        "toFormat prints `Z`, which means UTC, behind the time of another zone: write %z".into()
                    })
                })
        }
    }
}

fn wrong_pattern(name: &str, pattern: &str) -> Option<String> {
    if !pattern.contains('%') {
        return Some(format!("{name} is no pattern of strftime, as '%Y-%m-%d %H:%M:%S' is: it has no `%`"));
    }
    let printed = strtime::format(pattern, &Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC));
    printed.err().map(|error| format!("{name} is no pattern of strftime: {error}"))
}

/// The zone that what an expression prints is in, if its last filter says that.
pub(super) fn zone_of(tree: &Expr<'_>) -> Option<TimeZone> {
    let Expr::Filter(filter) = tree else { return None };
    if filter.name != "dateTimeFormatter" {
        return None;
    }
    filter.args.iter().find_map(|argument| match argument {
        CallArg::Kwarg("timeZone", value) => zone_named(value.as_const()?.as_str()?).ok(),
        CallArg::Kwarg("tzOffset", value) => zone_of_offset(&value.as_const()?).ok(),
        _ => None,
    })
}
