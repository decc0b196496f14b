//! The written forms of a point in time, each with its zone.
//!
//! | form | examples |
//! | --- | --- |
//! | ISO 8601, with `T` or a blank, `/` or `.` in the date | `2026-11-28T17:21:00Z`, `2026/11/28 17:21`, `20261128T172100+0530`, `2026-11-28` |
//! | month by name, day first or month first | `28 Nov 2026 17:21`, `Nov 28, 2026 05:21:00 PM`, `28-Nov-2026`, `Saturday, November 28th 2026` |
//! | RFC 2822 and what `date`, `ctime` and JavaScript print | `Sat, 28 Nov 2026 17:21:00 +0530`, `Sat Nov 28 17:21:00 UTC 2026`, `Sat Nov 28 2026 17:21:00 GMT+0530 (India Standard Time)` |
//! | digits alone | `20261128`, `202611281721`, `20261128172100` |
//! | day and month as numbers | `28/11/2026 17:21`, `11-28-2026`: only where the order of the two is configured |
//!
//! Zones are `Z`, `UTC`, `GMT`, an offset (`+05:30`, `+0530`, `+05`, `GMT+5:30`), a name of the tz database (`Asia/Kolkata`), or letters
//! (`EST`, `IST`), which stand for several zones: see [`super::clock`].

use jiff::{civil, tz::Offset};

/// The order of day and month where both are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    DayFirst,
    MonthFirst,
}

/// What a text says of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone<'t> {
    Unsaid,
    Offset(Offset),
    /// Such as `EST`.
    Letters(&'t str),
    /// Such as `Asia/Kolkata`.
    Named(&'t str),
}

/// A text that is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form<'t> {
    pub(super) at: civil::DateTime,
    pub(super) zone: Zone<'t>,
}

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It has none of the forms.
    Form,
    /// Day and month could be exchanged.
    Ambiguous,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// No zone is further from UTC.
const MAX_OFFSET_HOURS: i32 = 14;

/// Reads a text without blanks around it.
pub(super) fn read(text: &str, order: Option<Order>) -> Result<Form<'_>, Unread> {
    let mut cursor = Cursor { text, at: 0 };
    let weekday = cursor.weekday();
    let date = cursor.date(order)?;
    let form = match date {
        Date::Whole(date) => cursor.time_and_zone(date),
        // the year stands behind the time
        Date::Yearless(month, day) => cursor.time_and_year(month, day),
    };
    // a day that is not the date's: one of the two is wrong, and nobody can tell which
    let agrees = |form: &Form<'_>| weekday.is_none_or(|day| day == form.at.weekday().to_monday_one_offset());
    form.filter(agrees).ok_or(Unread::Form)
}

/// A date of digits alone, and the time behind it; none where they are no date from 1970 to 2099.
pub(super) fn of_digits(digits: &str) -> Option<civil::DateTime> {
    let [date, time] = [digits.get(..8)?, digits.get(8..)?];
    let number = |text: &str| text.parse::<i8>().ok();
    let year = date[..4].parse::<i16>().ok().filter(|year| (1970..2100).contains(year))?;
    let date = civil::Date::new(year, number(&date[4..6])?, number(&date[6..])?).ok()?;
    let time = match time.len() {
        0 => civil::Time::midnight(),
        4 => civil::Time::new(number(&time[..2])?, number(&time[2..])?, 0, 0).ok()?,
        6 => civil::Time::new(number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?, 0).ok()?,
        _ => return None,
    };
    Some(date.to_datetime(time))
}

enum Date {
    Whole(civil::Date),
    Yearless(i8, i8),
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Takes what is of this kind.
    fn run(&mut self, is: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| is(*byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn digits(&mut self) -> &'t str {
        self.run(|byte| byte.is_ascii_digit())
    }

    fn word(&mut self) -> &'t str {
        self.run(|byte| byte.is_ascii_alphabetic())
    }

    fn skip(&mut self, any: &[u8]) -> bool {
        !self.run(|byte| any.contains(&byte)).is_empty()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.rest().as_bytes().first() == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Goes back where nothing comes of it.
    fn attempt<T>(&mut self, what: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let at = self.at;
        let found = what(self);
        if found.is_none() {
            self.at = at;
        }
        found
    }

    /// The day of the week, from Monday as 1.
    fn weekday(&mut self) -> Option<i8> {
        self.attempt(|cursor| {
            let day = named(&DAYS, cursor.word())?;
            cursor.skip(b",. ").then_some(day)
        })
    }

    fn date(&mut self, order: Option<Order>) -> Result<Date, Unread> {
        let first = self.digits();
        let whole = |year: i16, month: i8, day: i8| civil::Date::new(year, month, day).ok().map(Date::Whole);
        let date = match first.len() {
            8 => of_digits(first).map(|at| Date::Whole(at.date())),
            4 => self.attempt(|cursor| {
                let year = first.parse().ok()?;
                let separator = cursor.separator()?;
                let month = cursor.month()?;
                (cursor.separator()? == separator).then_some(())?;
                whole(year, month, cursor.two()?)
            }),
            1 | 2 => {
                let named = self.attempt(|cursor| {
                    let day = first.parse().ok()?;
                    cursor.ordinal();
                    cursor.skip(b"-/. ");
                    let month = named(&MONTHS, cursor.word())?;
                    cursor.skip(b"-/., ");
                    whole(cursor.year()?, month, day)
                });
                match named {
                    Some(date) => Some(date),
                    None => return self.numbers(first, order),
                }
            }
            0 => self.attempt(|cursor| {
                let month = named(&MONTHS, cursor.word())?;
                cursor.skip(b"-. ");
                let day = cursor.two()?;
                cursor.ordinal();
                cursor.skip(b"-,. ");
                match cursor.attempt(Self::year) {
                    Some(year) => whole(year, month, day),
                    None => Some(Date::Yearless(month, day)),
                }
            }),
            _ => None,
        };
        date.ok_or(Unread::Form)
    }

    /// Day and month as numbers, in the order that is configured.
    fn numbers(&mut self, first: &str, order: Option<Order>) -> Result<Date, Unread> {
        let numbers = self.attempt(|cursor| {
            let separator = cursor.separator()?;
            let second = cursor.two()?;
            (cursor.separator()? == separator).then_some(())?;
            Some((first.parse::<i8>().ok()?, second, cursor.year()?))
        });
        let (first, second, year) = numbers.ok_or(Unread::Form)?;
        let (day, month) = match order.ok_or(Unread::Ambiguous)? {
            Order::DayFirst => (first, second),
            Order::MonthFirst => (second, first),
        };
        civil::Date::new(year, month, day).map(Date::Whole).map_err(|_other_order| Unread::Form)
    }

    fn separator(&mut self) -> Option<u8> {
        let byte = self.rest().bytes().next().filter(|byte| b"-/.".contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    /// A number of one or two digits.
    fn two(&mut self) -> Option<i8> {
        let digits = self.digits();
        (1..=2).contains(&digits.len()).then(|| digits.parse().ok())?
    }

    fn year(&mut self) -> Option<i16> {
        let digits = self.digits();
        // the hour of a time is no year
        (digits.len() == 4 && !self.rest().starts_with(':')).then(|| digits.parse().ok())?
    }

    fn month(&mut self) -> Option<i8> {
        self.attempt(Self::two).or_else(|| named(&MONTHS, self.word()))
    }

    /// As in `28th`.
    fn ordinal(&mut self) {
        let _letters = self.attempt(|cursor| ["st", "nd", "rd", "th"].contains(&cursor.word()).then_some(()));
    }

    fn time_and_zone(&mut self, date: civil::Date) -> Option<Form<'t>> {
        let is_compact = self.at == 8;
        let time = self.attempt(|cursor| {
            let is_behind_t = cursor.take(b'T') || cursor.take(b't');
            if !is_behind_t {
                let blanks = cursor.skip(b", ");
                let _at = cursor.attempt(|cursor| (cursor.word() == "at" && cursor.skip(b" ")).then_some(()));
                blanks.then_some(())?;
            }
            cursor.time(is_behind_t && is_compact)
        });
        let zone = self.zone()?;
        let time = match time {
            Some(time) => time,
            None => civil::Time::midnight(),
        };
        self.ends().then_some(Form { at: date.to_datetime(time), zone })
    }

    /// As `date` prints it: `17:21:00 UTC 2026`.
    fn time_and_year(&mut self, month: i8, day: i8) -> Option<Form<'t>> {
        let time = self.time(false)?;
        let zone = self.zone()?;
        self.skip(b" ");
        let date = civil::Date::new(self.year()?, month, day).ok()?;
        self.ends().then_some(Form { at: date.to_datetime(time), zone })
    }

    /// `17:21`, `17:21:00.123` or `05:21:00 PM`; of digits alone behind a date of such.
    fn time(&mut self, is_compact: bool) -> Option<civil::Time> {
        let digits = self.digits();
        let (hour, minute, second) = if is_compact {
            let number = |at: usize| digits.get(at..at + 2)?.parse::<i8>().ok();
            [4, 6].contains(&digits.len()).then_some((number(0)?, number(2)?, number(4).unwrap_or(0)))?
        } else {
            (1..=2).contains(&digits.len()).then_some(())?;
            let hour = digits.parse().ok()?;
            self.take(b':').then_some(())?;
            let minute = self.digits();
            let second = self.attempt(|cursor| {
                cursor.take(b':').then_some(())?;
                Some(cursor.digits()).filter(|digits| digits.len() == 2)
            });
            (minute.len() == 2).then_some(())?;
            (hour, minute.parse().ok()?, second.map_or(Ok(0), str::parse).ok()?)
        };
        let fraction = self.attempt(|cursor| {
            (cursor.take(b'.') || cursor.take(b',')).then_some(())?;
            Some(cursor.digits()).filter(|digits| (1..=9).contains(&digits.len()))
        });
        let nanosecond = match fraction {
            Some(digits) => format!("{digits:0<9}").parse().ok()?,
            None => 0,
        };
        let hour = match self.half() {
            None => hour,
            // of a clock of 24 hours it says nothing that is certain
            Some(_) if !(1..=12).contains(&hour) => return None,
            Some(is_afternoon) => hour % 12 + if is_afternoon { 12 } else { 0 },
        };
        civil::Time::new(hour, minute, second, nanosecond).ok()
    }

    /// Whether it is after noon, where that is said.
    fn half(&mut self) -> Option<bool> {
        self.attempt(|cursor| {
            cursor.skip(b" ");
            let letters = cursor.run(|byte| byte.is_ascii_alphabetic() || byte == b'.').replace('.', "");
            match letters.to_ascii_lowercase().as_str() {
                "am" => Some(false),
                "pm" => Some(true),
                _ => None,
            }
        })
    }

    /// What is said of the zone; none where something stands there that is none.
    fn zone(&mut self) -> Option<Zone<'t>> {
        let begin = self.at;
        self.skip(b" ");
        let offset = self.attempt(Self::offset);
        let zone = match offset {
            Some(offset) => Zone::Offset(offset),
            None => {
                let name = self.run(|byte| byte.is_ascii_alphanumeric() || b"/_".contains(&byte));
                match name {
                    // the year of `date`
                    "" => Zone::Unsaid,
                    digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                        self.at = begin;
                        Zone::Unsaid
                    }
                    name if name.contains('/') => Zone::Named(name),
                    "Z" | "z" => Zone::Offset(Offset::UTC),
                    "UTC" | "GMT" | "UT" | "utc" | "gmt" => {
                        Zone::Offset(self.attempt(Self::offset).unwrap_or(Offset::UTC))
                    }
                    letters if (2..=5).contains(&letters.len()) => Zone::Letters(letters),
                    _ => return None,
                }
            }
        };
        // as RFC 9557 and JavaScript say it once more; alone it might be the zone itself
        let _again = self.attempt(|cursor| {
            (zone != Zone::Unsaid).then_some(())?;
            cursor.skip(b" ");
            let rest = cursor.rest();
            let closes = match rest.as_bytes().first()? {
                b'(' => rest.find(')')?,
                b'[' => rest.find(']')?,
                _ => return None,
            };
            cursor.at += closes + 1;
            Some(())
        });
        Some(zone)
    }

    /// `+05:30`, `+0530`, `+05` or `+5:30`.
    fn offset(&mut self) -> Option<Offset> {
        let sign = match self.rest().bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        let digits = self.digits();
        let (hours, minutes) = match digits.len() {
            4 => (&digits[..2], &digits[2..]),
            1 | 2 if self.take(b':') => (digits, self.digits()),
            1 | 2 => (digits, "00"),
            _ => return None,
        };
        let (hours, minutes) =
            (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok().filter(|minutes| *minutes < 60)?);
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().filter(|_| hours <= MAX_OFFSET_HOURS)
    }

    fn ends(&self) -> bool {
        self.at == self.text.len()
    }
}

/// The place of a name in a list, from 1, by all of it or its first three letters; none where it is not there.
fn named(names: &[&str], word: &str) -> Option<i8> {
    let word = word.to_ascii_lowercase();
    let is_it = |name: &&str| {
        word.len() >= 3 && (*name == word || name[..3] == word || (word == "sept" && *name == "september"))
    };
    names.iter().position(is_it).and_then(|at| i8::try_from(at + 1).ok())
}
