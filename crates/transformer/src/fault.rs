//! Why no event could be made, as a stable word and a sentence with the remedy. Neither holds a value from the body.

use moehog_proto::transformer::Rejection;

/// Why an event or a webhook is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    // of an event
    MissingEvent,
    MissingDistinctId,
    InvalidDistinctId,
    ForbiddenId,
    UnresolvedPlaceholder { field: &'static str },
    ForbiddenEvent,
    KeyMismatch,
    InvalidProperties,
    NotAnObject,
    NestedTooDeep,
    EndlessNumber,
    TooManyProperties,
    UnreadableLine,
    // of a rule
    RuleMissingValue { line: u32, field: &'static str },
    RuleFailed { line: u32, field: &'static str },
    RuleCostly { line: u32, field: &'static str },
    // of a webhook
    EmptyBody,
    UnreadableGzip,
    UnreadableJson { line: usize, column: usize, cause: Unreadable },
    UnknownShape,
    NoEvents,
    TooManyEvents,
    TooLarge,
}

/// What probably made a body unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Truncated,
    Trailing,
    Unquoted,
    Placeholder,
    Syntax,
}

impl Fault {
    /// The short stable word.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::MissingEvent => "missing_event",
            Self::MissingDistinctId => "missing_distinct_id",
            Self::InvalidDistinctId => "invalid_distinct_id",
            Self::ForbiddenId => "forbidden_id",
            Self::UnresolvedPlaceholder { .. } => "unresolved_placeholder",
            Self::ForbiddenEvent => "forbidden_event",
            Self::KeyMismatch => "key_mismatch",
            Self::InvalidProperties => "invalid_properties",
            Self::NotAnObject => "not_an_object",
            Self::NestedTooDeep => "nested_too_deep",
            Self::EndlessNumber => "endless_number",
            Self::TooManyProperties => "too_many_properties",
            Self::UnreadableLine => "unreadable_line",
            Self::RuleMissingValue { .. } => "rule_missing_value",
            Self::RuleFailed { .. } => "rule_failed",
            Self::RuleCostly { .. } => "rule_costly",
            Self::EmptyBody => "empty_body",
            Self::UnreadableGzip => "unreadable_gzip",
            Self::UnreadableJson { .. } => "unreadable_json",
            Self::UnknownShape => "unknown_shape",
            Self::NoEvents => "no_events",
            Self::TooManyEvents => "too_many_events",
            Self::TooLarge => "too_large",
        }
    }

    fn detail(self) -> String {
        let text = match self {
            Self::MissingEvent => {
                "the event has no name: set `event` (Streams: `event_name`) to a text that is not empty"
            }
            Self::MissingDistinctId => {
                "the event has no person: set `distinct_id` (Streams: `uid`) to the user's ID in MoEngage"
            }
            Self::InvalidDistinctId => "`distinct_id` is an object or an array: set it to a text",
            Self::ForbiddenId => {
                "the person's id is one that MoEngage or PostHog refuses, such as `null`, `0` or `guest`, since it would \
                 make many users one person: set it to the user's ID in MoEngage"
            }
            Self::UnresolvedPlaceholder { field } => {
                return format!(
                    "the placeholder in `{field}` was not filled: MoEngage fills {{{{UserAttribute['ID']}}}} and \
                     {{{{EventAttribute['Name']}}}}, with the attribute's display name; use default('MOE_NOT_SEND') for \
                     users that lack it"
                );
            }
            Self::ForbiddenEvent => {
                "the event's name is one that PostHog bills, routes or merges persons by (`$exception`, `$ai_…`, `$$…`, \
                 `survey …`, `$merge_dangerously`): take another, or put it into `allow` of the mapping file"
            }
            Self::KeyMismatch => {
                "the event carries another project key than its request: send the events of each project by themselves"
            }
            Self::RuleMissingValue { line, field } => {
                return format!(
                    "the rule in line {line} of the mapping file makes `{field}` of something that the event does not have: \
                     give it a `default`, or narrow the rule's `when`"
                );
            }
            Self::RuleFailed { line, field } => {
                return format!(
                    "the rule in line {line} of the mapping file could not compute `{field}` of this event: try the event with \
                     `moehog preview`"
                );
            }
            Self::RuleCostly { line, field } => {
                return format!(
                    "the rule in line {line} of the mapping file would take more steps, or make more bytes, for `{field}` than the \
                     mapping of one event may: make its expression simpler, or keep what is large out of it"
                );
            }
            Self::InvalidProperties => "`properties` is not an object: PostHog takes nothing else",
            Self::NotAnObject => "an event must be a JSON object",
            Self::NestedTooDeep => "a value nests deeper than 100 levels, which PostHog cannot read: flatten it",
            Self::EndlessNumber => {
                "a number is larger than any that PostHog can read, such as 1e999: send it as a text, or leave it out"
            }
            Self::TooManyProperties => "the event has more than 20,000 properties: leave out what is not needed",
            Self::UnreadableLine => "this line of the body is not valid JSON, while others are: send one event a line",
            Self::EmptyBody => "the body is empty: set the connector's body to JSON with `event` and `distinct_id`",
            Self::UnreadableGzip => {
                "the body begins like gzip and cannot be unpacked: send it plain or repair the sender"
            }
            Self::UnreadableJson { line, column, cause } => {
                let remedy = match cause {
                    Unreadable::Truncated => "it ends too early: a bracket or a quote is not closed",
                    Unreadable::Trailing => "something follows the first JSON value: send one object or one array",
                    Unreadable::Unquoted => {
                        "a value there stands without quotes: put the placeholder between quotes, as in \
                         \"{{EventAttribute['Name']}}\""
                    }
                    Unreadable::Placeholder => {
                        "a placeholder there was not filled, and stands without quotes: MoEngage fills \
                         {{EventAttribute['Name']}}, with the attribute's display name"
                    }
                    Unreadable::Syntax => {
                        "a value that MoEngage filled in often holds a quote or a line break, which its template \
                         does not escape: leave that value out, or remove them with the filter `replace`"
                    }
                };
                return format!("the body is not valid JSON at line {line} column {column}; {remedy}");
            }
            Self::UnknownShape => {
                "the body is neither a Streams batch (`events` as an array), nor a PostHog event (`event`), an array of \
                 them, or a `batch` of them: copy a connector body from the README"
            }
            Self::NoEvents => "the body holds no event: its list is empty",
            Self::TooManyEvents => "the body holds more than 10,000 events: send them in several requests",
            Self::TooLarge => {
                "the body is larger than 32 MiB unpacked, or its events are larger than 64 MiB: send it in several requests"
            }
        };
        text.to_string()
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self { reason: fault.reason().to_string(), detail: fault.detail() }
    }
}

#[cfg(test)]
mod tests {
    use moehog_proto::limits::{MAX_BODY_BYTES, MAX_EVENTS, MAX_MAPPED_BYTES};

    use super::*;

    #[test]
    fn sentences_name_the_limits_there_are() {
        let detail = |fault: Fault| Rejection::from(fault).detail;
        assert!(detail(Fault::TooManyEvents).contains(&format!("more than {},000 events", MAX_EVENTS / 1000)));
        let [body, events] = [MAX_BODY_BYTES, MAX_MAPPED_BYTES].map(|bytes| format!("larger than {} MiB", bytes >> 20));
        assert!(detail(Fault::TooLarge).contains(&body) && detail(Fault::TooLarge).contains(&events));
    }
}
