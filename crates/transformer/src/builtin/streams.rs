//! A Streams event: attributes flattened by the naming that other tools give MoEngage's data, ids and time made PostHog's.
//!
//! Sources: MoEngage, "Streams" (02d140bd) and "Data Export Glossary" (1e2fa66f); MoEngage partner guide, "Mixpanel"
//! (02d140bd) for the names; "Send MoEngage Events to Adobe" (13035dc6) for the flat form. Read 2026-08.

use std::borrow::Cow;

use super::{Context, Draft, Id, Maker, Person, When, capture};
use crate::{
    fault::Fault,
    item::{Item, Kind, Object, Pair, only},
    json,
    notes::Note,
    value::{Properties, Rank, checked, identity},
};

/// What a file export and the flat form have around the event; it says nothing of the event.
const ENVELOPE: [&str; 8] =
    ["app_name", "db_name", "export_day", "export_doc_id", "export_hour", "id", "moe_request_id", "source"];

/// Properties by which PostHog changes persons. An attribute of that name changes none, it is renamed.
const RESERVED: [&str; 8] = [
    "$anon_distinct_id",
    "$group_set",
    "$groups",
    "$process_person_profile",
    "$set",
    "$set_once",
    "$unset",
    "$ignore_sent_at",
];

/// The event by which MoEngage tells that it made one user of two: code and name.
const MERGED: (&str, &str) = ("MOE_USER_MERGED", "User Merged");

/// Whether an event that stands by itself is a Streams event and not one for PostHog.
pub(crate) fn is_flat(item: &Item<'_>) -> bool {
    let has = |name: &str| item.field(name).is_some_and(|raw| !json::is_null(raw));
    !has("event") && (has("event_name") || has("event_code"))
}

/// Whether MoEngage itself, and no template, made a Streams event that stands by itself: it has members that no marketer writes.
pub(crate) fn is_typed(item: &Item<'_>) -> bool {
    let objects = [&item.event_attributes, &item.user_attributes, &item.device_attributes];
    objects.iter().any(|object| object.kind != Kind::Absent)
        || ["identities", "event_type", "event_source"].iter().any(|name| item.field(name).is_some())
}

/// Members of a Streams event that have a meaning of their own.
#[derive(Debug, Default)]
struct Fields<'a> {
    name: Option<&'a str>,
    code: Option<&'a str>,
    uuid: Option<&'a str>,
    time: Option<&'a str>,
    /// `time` of the flat form.
    flat_time: Option<&'a str>,
    uid: Option<&'a str>,
    moengage_user_id: Option<&'a str>,
}

/// Drafts a Streams event.
pub(crate) fn draft<'a>(
    item: &Item<'a>,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Draft<'a>, Fault> {
    let mut fields = Fields::default();
    flatten("event_attributes", &item.event_attributes, Rank::Event, context, properties)?;
    flatten("properties", &item.properties, Rank::Event, context, properties)?;
    let identities = beside(item, &mut fields, context, properties)?;
    flatten("device_attributes", &item.device_attributes, Rank::Device, context, properties)?;
    user(&item.user_attributes, &mut fields, context, properties)?;
    if let Some(identities) = identities {
        fields.uid = fields.uid.or(identities.uid);
        fields.moengage_user_id = fields.moengage_user_id.or(identities.moengage_user_id);
    }

    let mut name = name(&fields, context);
    let is_template = context.maker == Maker::Template;
    let person = match fields.uid {
        None if is_template => capture::person(item, context),
        uid => context.person(("uid", uid), ("moengage_user_id", fields.moengage_user_id)),
    };
    if let Some(other) =
        item.field("distinct_id").filter(|raw| is_template && fields.uid.is_some_and(|uid| uid != *raw))
    {
        context.notes.say(Note::Clash, "distinct_id", other);
    }
    if context.rules.identity.joins && is_merge(&fields, &name) {
        name = joined(&fields, &person, name, context, properties);
    }
    let id = match context.own_id(("event_uuid", fields.uuid)) {
        Id::None if is_template => capture::own_id(item, context),
        id => id,
    };
    let (field, raw) = match fields.time.or(fields.flat_time) {
        None if is_template => ("timestamp", item.field("timestamp")),
        raw => ("event_time", raw),
    };
    let when = When::Said { field, raw, ahead_ms: 0 };
    Ok(Draft { name, person, anonymous: fields.moengage_user_id, id, when, is_historical: false })
}

/// Whether MoEngage tells that it made one user of two.
fn is_merge(fields: &Fields<'_>, name: &Result<Cow<'_, str>, Fault>) -> bool {
    let is_code = |raw: &str| json::string(raw).is_some_and(|code| code == MERGED.0);
    fields.code.is_some_and(is_code) || name.as_ref().is_ok_and(|name| *name == MERGED.0 || *name == MERGED.1)
}

/// The name by which PostHog joins the person that MoEngage's own id is to the one that is known: what was sent of them before stood under
/// that id. PostHog joins none that is identified already.
///
/// Source: PostHog, "Identifying users" (read 2026-11).
fn joined<'a>(
    fields: &Fields<'a>,
    person: &Result<Person<'a>, Fault>,
    name: Result<Cow<'a, str>, Fault>,
    context: &mut Context<'a>,
    properties: &mut Properties<'a>,
) -> Result<Cow<'a, str>, Fault> {
    let Some(raw) = fields.moengage_user_id.filter(|_| person.as_ref().is_ok_and(|person| person.is_known)) else {
        return name;
    };
    // what must not be a person must not be joined with one either
    let reading = context.reading();
    match identity::distinct_id(raw, "moengage_user_id", reading, &mut context.notes) {
        Ok(Some(_)) => {
            properties.put("$anon_distinct_id", "\"$anon_distinct_id\"", Cow::Borrowed(raw));
            Ok(Cow::Borrowed("$identify"))
        }
        Ok(None) | Err(_) => name,
    }
}

/// The display name; without it the name of the code.
fn name<'a>(fields: &Fields<'a>, context: &mut Context<'a>) -> Result<Cow<'a, str>, Fault> {
    if let Some(raw) = fields.name
        && let Some(name) = context.event_name(raw, "event_name")?
    {
        return Ok(name);
    }
    let code = fields.code.map(|raw| context.event_name(raw, "event_code"));
    match code.transpose()?.flatten().ok_or(Fault::MissingEvent)? {
        Cow::Borrowed(code) => Ok(Cow::Borrowed(context.codes.name(code))),
        Cow::Owned(code) => Ok(Cow::Owned(context.codes.name(&code).to_string())),
    }
}

/// The attributes of an event or device, as they are named.
fn flatten<'a>(
    name: &str,
    object: &Object<'a>,
    rank: Rank,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<(), Fault> {
    if object.kind == Kind::Other {
        context.notes.say(Note::WrongKind, name, "");
    }
    for pair in &object.pairs {
        add(pair, rank, "", context, properties)?;
    }
    Ok(())
}

/// The user's attributes: prefixed, and never person properties, since MoEngage says that they may be stale.
fn user<'a>(
    object: &Object<'a>,
    fields: &mut Fields<'a>,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<(), Fault> {
    if object.kind == Kind::Other {
        context.notes.say(Note::WrongKind, "user_attributes", "");
    }
    for pair in &object.pairs {
        let prefix = if pair.name == "moengage_user_id" {
            fields.moengage_user_id = Some(pair.value);
            ""
        } else {
            "user_"
        };
        add(pair, Rank::User, prefix, context, properties)?;
    }
    Ok(())
}

/// What stands in the event beside its attributes. Gives the ids of the flat form's `identities`.
fn beside<'a>(
    item: &Item<'a>,
    fields: &mut Fields<'a>,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<Option<Fields<'a>>, Fault> {
    let mut identities = None;
    let flat = item.field("identities").is_some();
    let is_template = context.maker == Maker::Template;
    for pair in &item.fields {
        match &*pair.name {
            "event_name" => only(&mut fields.name, pair.value, "event_name")?,
            "event_time" => {
                if let Some(lost) = fields.time.replace(pair.value).filter(|lost| *lost != pair.value) {
                    context.notes.say(Note::DuplicateKey, "event_time", lost);
                }
            }
            "time" if flat => fields.flat_time = Some(pair.value),
            "uid" => only(&mut fields.uid, pair.value, "uid")?,
            // read as PostHog reads them
            "distinct_id" | "$distinct_id" | "timestamp" | "uuid" | "api_key" | "token" if is_template => {}
            "push_id" => named(pair, "moe_push_id", "\"moe_push_id\"", context, properties)?,
            "email_id" => named(pair, "moe_email_id", "\"moe_email_id\"", context, properties)?,
            "mobile_number" => named(pair, "moe_mobile_number", "\"moe_mobile_number\"", context, properties)?,
            "identities" => {
                let mut ids = Fields::default();
                for pair in Object::read(pair.value).pairs {
                    match &*pair.name {
                        "externalId" => ids.uid = Some(pair.value),
                        "moengageUserId" => {
                            ids.moengage_user_id = Some(pair.value);
                            named(&pair, "moengage_user_id", "\"moengage_user_id\"", context, properties)?;
                        }
                        "email" => named(&pair, "moe_email_id", "\"moe_email_id\"", context, properties)?,
                        "phone" => named(&pair, "moe_mobile_number", "\"moe_mobile_number\"", context, properties)?,
                        other => context.notes.say(Note::IgnoredField, &["identities.", other].concat(), pair.value),
                    }
                }
                identities = Some(ids);
            }
            other if ENVELOPE.contains(&other) => {}
            other => {
                match other {
                    "event_code" => only(&mut fields.code, pair.value, "event_code")?,
                    "event_uuid" => fields.uuid = Some(pair.value),
                    _ => {}
                }
                add(pair, Rank::Beside, "", context, properties)?;
            }
        }
    }
    Ok(identities)
}

/// Adds a property under another name; `key` is that name as JSON.
fn named<'a>(
    pair: &Pair<'a>,
    name: &'static str,
    key: &'static str,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<(), Fault> {
    let renamed = Pair { name: Cow::Borrowed(name), key, value: pair.value };
    add(&renamed, Rank::Beside, "", context, properties)
}

fn add<'a>(
    pair: &Pair<'a>,
    rank: Rank,
    prefix: &'static str,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<(), Fault> {
    let mut prefix = prefix;
    if prefix.is_empty() {
        if pair.name.starts_with('$') && RESERVED.contains(&&*pair.name) {
            context.notes.say(Note::RenamedReserved, &pair.name, "");
            prefix = "moe_";
        } else if pair.name == "moehog" {
            context.notes.say(Note::Clash, "moehog", "");
            return Ok(());
        }
    }
    if !context.rules.keep_push_tokens && is_push_token(&pair.name) {
        context.notes.count(Note::DroppedPushToken);
        return Ok(());
    }
    // what no template made is data: `None` and blanks are what they are
    if context.policy().drops(pair.value) {
        context.notes.say(Note::DroppedPlaceholder, &[prefix, &pair.name].concat(), pair.value);
        return Ok(());
    }
    let value = checked(&pair.name, pair.value, &mut context.notes)?;
    properties.insert(rank, prefix, pair.name.clone(), pair.key, value, &mut context.notes);
    Ok(())
}

/// Whoever holds a push token and the app's keys can write to the device.
fn is_push_token(name: &str) -> bool {
    ["push_id", "moe_push_id", "push id", "push_token"].iter().any(|token| token.eq_ignore_ascii_case(name))
}
