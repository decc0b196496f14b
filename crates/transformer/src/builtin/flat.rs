//! What a body that a marketer wrote calls the parts of an event, beside PostHog's own names: those that MoEngage's pages print.
//!
//! Source: MoEngage, "Streams" (02d140bd), "Data Export Glossary" (1e2fa66f) and "Identity Resolution" (read 2026-11).

use super::{Context, Named, Person};
use crate::{fault::Fault, item::Item, value::identity};

/// Members that hold the person's id, the best first.
const PERSONS: [&str; 6] = ["distinct_id", "uid", "user_id", "userId", "customer_id", "customerId"];

/// Members that hold MoEngage's own id of the person.
const ANONYMOUS: [&str; 2] = ["moengage_user_id", "moengage_distinct_id"];

/// The person by one of these names, else MoEngage's own id without a person profile.
pub(super) fn person<'a>(item: &Item<'a>, context: &mut Context<'_>) -> Result<Person<'a>, Fault> {
    let reading = context.reading();
    for name in PERSONS {
        if let Some(raw) = item.one(name)?
            && let Some(id) = identity::distinct_id(raw, name, reading, &mut context.notes)?
        {
            return Ok(Person::known(id));
        }
    }
    context.person(("uid", None), anonymous(item))
}

/// MoEngage's own id of the person.
pub(super) fn anonymous<'a>(item: &Item<'a>) -> Named<'a> {
    let found = ANONYMOUS.into_iter().map(|name| (name, item.field(name)));
    found.into_iter().find(|found| found.1.is_some()).unwrap_or((ANONYMOUS[0], None))
}
