//! A segment of users as MoEngage's Outbound Segment Sync sends it: who came in, and who left; an event each.
//!
//! Source: MoEngage, "Outbound Segment Sync" (048a7445, read 2026-08). The names of the envelope can be changed there; these are its own.

use std::borrow::Cow;

use super::{Context, Draft, Id, When, capture, flat};
use crate::{
    fault::Fault,
    item::{Item, Object, Pair},
    json,
    value::Properties,
};

/// What became of the users of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Entered,
    Left,
}

impl Change {
    fn event(self) -> &'static str {
        match self {
            Self::Entered => "Segment Entered",
            Self::Left => "Segment Left",
        }
    }
}

/// One page of a segment.
#[derive(Debug, Default)]
pub(crate) struct Segment<'a> {
    name: Option<&'a str>,
    sync: Option<&'a str>,
    execution: Option<&'a str>,
    /// Lists of users, as JSON.
    pub(crate) lists: Vec<(Change, &'a str)>,
}

impl<'a> Segment<'a> {
    /// What a body holds; none where it is no segment.
    pub(crate) fn of(body: &Item<'a>) -> Option<Self> {
        let is_one = body.field("type").and_then(json::string).is_some_and(|kind| kind == "segment_sync");
        let data = body.field("data").filter(|data| is_one && json::is_object(data))?;
        let mut segment = Self::default();
        for pair in Object::read(data).pairs {
            match &*pair.name {
                "moengage_sync_name" => segment.name = Some(pair.value),
                "moengage_sync_id" => segment.sync = Some(pair.value),
                "moengage_execution_id" => segment.execution = Some(pair.value),
                "add_users" => segment.lists.push((Change::Entered, pair.value)),
                "remove_users" => segment.lists.push((Change::Left, pair.value)),
                _ => {}
            }
        }
        Some(segment)
    }

    /// Gives a user the members that say which segment it is, so that rules see them, too.
    pub(crate) fn say_in(&self, user: &mut Item<'a>) {
        let own = [
            ("segment", "\"segment\"", self.name),
            ("segment_sync_id", "\"segment_sync_id\"", self.sync),
            ("segment_execution_id", "\"segment_execution_id\"", self.execution),
        ];
        let said = own.into_iter().filter_map(|(name, key, raw)| Some(Pair { name: name.into(), key, value: raw? }));
        user.fields.extend(said);
    }

    /// Drafts the event of one user.
    pub(crate) fn draft(
        &self,
        user: &Item<'a>,
        change: Change,
        context: &mut Context<'a>,
        properties: &mut Properties<'a>,
    ) -> Result<Draft<'a>, Fault> {
        for pair in &user.fields {
            capture::add(pair, context, properties)?;
        }
        let person = flat::person(user, context);
        // the same user of the same run is the same event, also when MoEngage sends the page again
        let id = match (self.execution.and_then(json::string), &person) {
            (Some(execution), Ok(person)) => {
                Id::Own(Cow::Owned(format!("{execution}/{}/{}", change.event(), person.id)))
            }
            _ => Id::None,
        };
        Ok(Draft {
            name: Ok(Cow::Borrowed(change.event())),
            person,
            anonymous: flat::anonymous(user).1,
            id,
            when: When::Said { field: "timestamp", raw: None, ahead_ms: 0 },
            is_historical: false,
        })
    }
}
