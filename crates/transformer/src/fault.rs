//! Why no event could be made: a stable code, the member that is wrong, what is wrong with it, and the remedy. None holds a value
//! from the body, save a placeholder that nobody filled.

use std::borrow::Cow;

use moehog_proto::{Blame, Reason, transformer::Rejection};
use strum::{IntoStaticStr, VariantNames};

use crate::value::placeholder;

/// Why an event or a webhook is rejected.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Fault {
    // of an event
    MissingEvent,
    MissingDistinctId,
    InvalidDistinctId,
    ForbiddenId,
    DamagedId,
    TwoValues { field: &'static str },
    UnresolvedPlaceholder { field: &'static str, left: Box<str> },
    ForbiddenEvent,
    KeyMismatch,
    InvalidProperties,
    NotAnObject,
    NestedTooDeep,
    EndlessNumber,
    TooManyProperties,
    UnreadableLine,
    UnreadableEvent { line: usize, column: usize, cause: Unreadable },
    // of a rule
    RuleMissingValue { line: u32, field: &'static str },
    RuleFailed { line: u32, field: &'static str },
    RuleCostly { line: u32, field: &'static str },
    RuleForbidden { line: u32, field: &'static str },
    // of a webhook
    EmptyBody,
    UnreadableGzip,
    UnreadableCoding { name: &'static str },
    UnreadableJson { line: usize, column: usize, cause: Unreadable },
    UnknownShape,
    NoEvents,
    TooManyEvents,
    TooLarge,
}

/// The codes of all reasons for which an event or a webhook is rejected.
pub const REASONS: &[&str] = Fault::VARIANTS;

/// What probably made a body unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Truncated,
    Trailing,
    Unquoted,
    Placeholder,
    Comma,
    Quote,
    Bracket,
    CurlyQuote,
    SingleQuote,
    Colon,
    Comment,
    Escaped,
    Markup,
    Syntax,
}

impl Fault {
    /// A placeholder stands in `text`, or what is printed for a value that there is not.
    pub(crate) fn unresolved(field: &'static str, text: &str) -> Self {
        Self::UnresolvedPlaceholder { field, left: placeholder::first(text).into() }
    }

    /// The short stable word: the variant's name in snake_case.
    pub(crate) fn code(&self) -> &'static str {
        self.into()
    }

    fn blame(&self) -> Blame {
        match self {
            Self::RuleMissingValue { .. }
            | Self::RuleFailed { .. }
            | Self::RuleCostly { .. }
            | Self::RuleForbidden { .. } => Blame::Mapping,
            _ => Blame::Body,
        }
    }

    /// The member of the body that is wrong; `body` where it is all of it. Of a rule, the property that it makes.
    fn field(&self) -> &'static str {
        match self {
            Self::MissingEvent | Self::ForbiddenEvent => "event",
            Self::MissingDistinctId | Self::InvalidDistinctId | Self::ForbiddenId | Self::DamagedId => "distinct_id",
            Self::InvalidProperties | Self::TooManyProperties => "properties",
            Self::KeyMismatch => "api_key",
            Self::TwoValues { field }
            | Self::UnresolvedPlaceholder { field, .. }
            | Self::RuleMissingValue { field, .. }
            | Self::RuleFailed { field, .. }
            | Self::RuleCostly { field, .. }
            | Self::RuleForbidden { field, .. } => field,
            _ => "body",
        }
    }

    /// What is wrong, and what to do about it.
    fn message_and_remedy(&self) -> (Cow<'static, str>, &'static str) {
        let (message, remedy) = match self {
            Self::MissingEvent => {
                ("the event has no name", "set `event` (Streams: `event_name`) to a text that is not empty")
            }
            Self::MissingDistinctId => {
                ("the event has no person", "set `distinct_id` (Streams: `uid`) to the user's ID in MoEngage")
            }
            Self::InvalidDistinctId => ("`distinct_id` is an object or an array", "set it to a text"),
            Self::ForbiddenId => (
                "the person's id is one that MoEngage or PostHog refuses, such as `null`, `0` or `guest`, since it would make \
                 many users one person",
                "set it to the user's ID in MoEngage",
            ),
            Self::DamagedId => (
                "the person's id holds a character that was lost on the way, or a quote that nobody escaped: two people may have \
                 become one by it",
                "send UTF-8, or declare the charset in `Content-Type`; put no quotes into ids",
            ),
            Self::TwoValues { field } => {
                return (
                    format!("`{field}` stands twice in the event, with different values").into(),
                    "send it once: which of the two is meant nobody can tell",
                );
            }
            Self::UnresolvedPlaceholder { field, left } => {
                return (
                    format!("the placeholder in `{field}` was not filled: `{left}`").into(),
                    "MoEngage fills {{UserAttribute['ID']}} and {{EventAttribute['Name']}}, with the attribute's display \
                     name; use default('MOE_NOT_SEND') for users that lack it",
                );
            }
            Self::ForbiddenEvent => (
                "the event's name is one that PostHog bills, routes or merges persons by (`$exception`, `$ai_…`, `$$…`, \
                 `survey …`, `$merge_dangerously`)",
                "take another, or put it into `allow` of the mapping file",
            ),
            Self::KeyMismatch => (
                "the event carries another project key than its request",
                "send the events of each project by themselves",
            ),
            Self::RuleMissingValue { line, field } => {
                return (
                    format!(
                        "the rule in line {line} of the mapping file makes `{field}` of something that the event does not have"
                    )
                    .into(),
                    "give it a `default`, or narrow the rule's `when`",
                );
            }
            Self::RuleFailed { line, field } => {
                return (
                    format!("the rule in line {line} of the mapping file could not compute `{field}` of this event")
                        .into(),
                    "try the event with `moehog preview`",
                );
            }
            Self::RuleCostly { line, field } => {
                return (
                    format!(
                        "the rule in line {line} of the mapping file would take more steps, or make more bytes, for `{field}` \
                         than the mapping of one event may"
                    )
                    .into(),
                    "make its expression simpler, or keep what is large out of it",
                );
            }
            Self::RuleForbidden { line, field } => {
                return (
                    format!(
                        "the rule in line {line} of the mapping file makes a `{field}` that PostHog or MoEngage refuses, or bills and \
                         merges persons by"
                    )
                    .into(),
                    "make another of it, narrow the rule's `when`, or put an event's name into `allow`",
                );
            }
            Self::InvalidProperties => ("`properties` is not an object", "PostHog takes nothing else: make it one"),
            Self::NotAnObject => ("an event must be a JSON object", "put `event` and `distinct_id` into one"),
            Self::NestedTooDeep => (
                "a value nests deeper than the 100 levels that moehog sends; PostHog refuses the request around it a few \
                 levels further on",
                "flatten it",
            ),
            Self::EndlessNumber => (
                "a number is larger than any that PostHog can read, such as 1e999",
                "send it as a text, or leave it out",
            ),
            Self::TooManyProperties => (
                "the event has more than 20,000 properties, which is as many as moehog maps: PostHog itself counts \
                 none",
                "leave out what is not needed, or put it into an object",
            ),
            Self::UnreadableLine => {
                ("this line of the body is not valid JSON, while others are", "send one event a line")
            }
            Self::UnreadableEvent { line, column, cause } => {
                return (
                    format!(
                        "this event of the list is not valid JSON at line {line} column {column} of the body, while others are"
                    )
                    .into(),
                    cause.remedy(),
                );
            }
            Self::EmptyBody => ("the body is empty", "set the connector's body to JSON with `event` and `distinct_id`"),
            Self::UnreadableGzip => {
                ("the body begins like gzip and cannot be unpacked", "send it plain or repair the sender")
            }
            Self::UnreadableCoding { name } => {
                return (
                    format!("the body is said to be {name}, or begins like it, and cannot be unpacked").into(),
                    "send it plain, or name in `Content-Encoding` how it is compressed",
                );
            }
            Self::UnreadableJson { line, column, cause } => {
                return (format!("the body is not valid JSON at line {line} column {column}").into(), cause.remedy());
            }
            Self::UnknownShape => (
                "the body is neither a Streams batch (`events` as an array), nor a PostHog event (`event`), an array of them, \
                 or a `batch` of them",
                "copy a connector body from the README",
            ),
            Self::NoEvents => ("the body holds no event: its list is empty", "send at least one"),
            Self::TooManyEvents => ("the body holds more than 10,000 events", "send them in several requests"),
            Self::TooLarge => (
                "the body is larger than 32 MiB unpacked, or its events are larger than 64 MiB",
                "send it in several requests",
            ),
        };
        (message.into(), remedy)
    }
}

impl Unreadable {
    fn remedy(self) -> &'static str {
        match self {
            Self::Truncated => "it ends too early: a bracket or a quote is not closed",
            Self::Trailing => "something follows the first JSON value: send one object or one array",
            Self::Unquoted => {
                "a value there stands without quotes: put the placeholder between quotes, as in \
                 \"{{EventAttribute['Name']}}\""
            }
            Self::Placeholder => {
                "a placeholder there was not filled, and stands without quotes: MoEngage fills \
                 {{EventAttribute['Name']}}, with the attribute's display name"
            }
            Self::Comma => "a comma is missing there, or one stands there too many",
            Self::Quote => {
                "a quote is missing or one too many, at that place or before it; a value that MoEngage filled in may hold one, \
                 which its template does not escape: remove it with the filter `replace`"
            }
            Self::Bracket => "a bracket is missing or one too many, at that place or before it",
            Self::CurlyQuote => "the quotes there are curly, as text programs print them: type straight ones, \"",
            Self::SingleQuote => {
                "texts and names stand in double quotes, and an apostrophe ends none: what Python prints is no JSON, write it \
                 with json.dumps or the filter `tojson`"
            }
            Self::Colon => "a colon is missing there between a name and its value",
            Self::Comment => "JSON has no comments: take it out",
            Self::Escaped => "the body is escaped as for a web page (`&quot;`): send it as it is",
            Self::Markup => "the body is a page or XML, and not JSON: set the connector's body to JSON",
            Self::Syntax => {
                "a value that MoEngage filled in often holds a quote or a line break, which its template does not escape: \
                 leave that value out, or remove them with the filter `replace`"
            }
        }
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        let (message, remedy) = fault.message_and_remedy();
        Self::new(fault.blame(), fault.code(), message).about(fault.field()).remedied(remedy)
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Reason::from(fault).into()
    }
}

#[cfg(test)]
mod tests {
    use moehog_proto::limits::{MAX_BODY_BYTES, MAX_EVENTS, MAX_MAPPED_BYTES};

    use super::*;

    #[test]
    fn sentences_name_the_limits_there_are() {
        let message = |fault: Fault| Reason::from(fault).message;
        assert!(message(Fault::TooManyEvents).contains(&format!("more than {},000 events", MAX_EVENTS / 1000)));
        let [body, events] = [MAX_BODY_BYTES, MAX_MAPPED_BYTES].map(|bytes| format!("larger than {} MiB", bytes >> 20));
        assert!(message(Fault::TooLarge).contains(&body) && message(Fault::TooLarge).contains(&events));
    }
}
