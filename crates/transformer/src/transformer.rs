//! The pure function: one webhook in, what became of its events out.

mod reading;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use moehog_coding::Coding;
use moehog_proto::transformer::{TransformedWebhook, Webhook, transformed_webhook};
use moehog_runtime::Cores;
use parking_lot::RwLock;

use self::reading::Body;
use crate::{
    body::{self, DecodeError},
    builtin::{Context, Maker},
    config::Mapping,
    costly::Named,
    fault::Fault,
    former::Former,
    item::Item,
    moengage::EventCodes,
    notes::{Note, Notes, Repair},
    output::{Output, Repaired},
    rules::Rules,
    value::{Properties, placeholder::Detector},
};

/// The method of a request whose query is its body.
const GET: &str = "GET";

/// Maps webhooks to PostHog events. Cheap to clone; the rules can be replaced while it is used.
#[derive(Debug, Clone)]
pub struct Transformer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    keep_push_tokens: bool,
    rules: RwLock<Arc<Rules>>,
    /// Rules of before that callers asked for.
    former: Former,
    costly: Named,
    codes: EventCodes,
    placeholders: Detector,
    cores: Cores,
    /// Names this process.
    instance: String,
}

impl Transformer {
    /// A transformer with the built-in mapping and rules over it, which may use all cores.
    #[must_use]
    pub fn new(config: &Mapping, rules: Rules) -> Self {
        Self::on(Cores::all(), config, rules)
    }

    /// One whose long work is done on these cores.
    pub(crate) fn on(cores: Cores, config: &Mapping, rules: Rules) -> Self {
        Self(Arc::new(Parts {
            keep_push_tokens: config.keep_push_tokens,
            rules: RwLock::new(Arc::new(rules.with_push_tokens(config.keep_push_tokens))),
            former: Former::default(),
            costly: Named::default(),
            codes: EventCodes::default(),
            placeholders: Detector::default(),
            cores,
            instance: uuid::Uuid::new_v4().to_string(),
        }))
    }

    /// The same, without keeping it alive.
    pub(crate) fn downgrade(&self) -> WeakTransformer {
        WeakTransformer(Arc::downgrade(&self.0))
    }

    /// Names this process in answers.
    pub(crate) fn instance(&self) -> &str {
        &self.0.instance
    }

    /// What was named in the log for its cost.
    pub(crate) fn costly(&self) -> &Named {
        &self.0.costly
    }

    /// Where is worked on what may take long.
    pub(crate) fn cores(&self) -> &Cores {
        &self.0.cores
    }

    /// The rules as they are now; a call works with the same ones from its begin to its end.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.0.rules.read().clone()
    }

    /// Replaces the rules; calls under way end with those they began with.
    pub fn replace(&self, rules: Rules) {
        *self.0.rules.write() = Arc::new(rules.with_push_tokens(self.0.keep_push_tokens));
    }

    /// The rules that `wanted` was given of; those of now where nothing is wanted, or what is cannot be had.
    pub(crate) fn rules_of(&self, wanted: Option<&moehog_proto::transformer::Mapping>) -> Arc<Rules> {
        let now = self.rules();
        let wanted = wanted.filter(|wanted| wanted.revision != now.revision());
        wanted.and_then(|wanted| self.0.former.rules(wanted, &now)).unwrap_or(now)
    }

    /// Maps one webhook. Any bytes give events or a rejection; the same webhook and rules give the same answer.
    #[must_use]
    pub fn transform(&self, webhook: &Webhook) -> TransformedWebhook {
        self.transform_counted(webhook).0
    }

    /// [`Self::transform`], with counts of what was done beyond copying.
    #[must_use]
    pub fn transform_counted(&self, webhook: &Webhook) -> (TransformedWebhook, Notes) {
        self.transform_by(&self.rules(), webhook)
    }

    /// [`Self::transform_counted`] by rules that may have been replaced meanwhile.
    pub(crate) fn transform_by(&self, rules: &Rules, webhook: &Webhook) -> (TransformedWebhook, Notes) {
        let mut notes = Notes::default();
        let result = match self.map(webhook, rules, &mut notes) {
            Ok(output) => transformed_webhook::Result::Mapped(output.finish()),
            Err(fault) => transformed_webhook::Result::Rejection(fault.into()),
        };
        (TransformedWebhook { result: Some(result) }, notes)
    }

    fn map(&self, webhook: &Webhook, rules: &Rules, notes: &mut Notes) -> Result<Output, Fault> {
        if webhook.body.is_empty() && webhook.method == GET && !webhook.query.is_empty() {
            notes.count(Note::Form);
            let of_query = body::form::to_json(&webhook.query);
            return self.read(webhook, rules, &of_query, &Repaired::default(), &BTreeMap::new(), notes);
        }
        let undecodable = |error| match error {
            DecodeError::Coding(Coding::Gzip, _) => Fault::UnreadableGzip,
            DecodeError::Coding(coding, _) => Fault::UnreadableCoding { name: coding.name() },
            DecodeError::TooLarge => Fault::TooLarge,
        };
        let bytes = body::unpack(&webhook.content_encoding, &webhook.body).map_err(undecodable)?;
        let mut text: Cow<'_, str> = body::text(&bytes, (&webhook.content_type, &webhook.content_encoding), notes);
        if text.trim_ascii().is_empty() {
            return Err(Fault::EmptyBody);
        }
        if let Some(inner) = body::unquoted(&text) {
            notes.count(Note::JsonInText);
            text = Cow::Owned(inner);
        }
        let is_form = body::form::is_form(&webhook.content_type, &text);
        let whole = if is_form { body::form::whole(&text).map_err(undecodable)? } else { None };
        let is_event = is_form && whole.is_none();
        if let Some(whole) = whole {
            text = Cow::Owned(body::text(&whole, ("", ""), notes).into_owned());
        }
        let of_text = [(Note::RepairedUtf8, Repair::Utf8), (Note::RepairedSurrogate, Repair::Surrogate)];
        let kinds = of_text.into_iter().filter(|(note, _)| notes.get(*note) > 0).map(|(_, it)| it).collect();
        let mut repaired = Repaired { kinds, places: Vec::new() };
        if is_form {
            notes.count(Note::Form);
        }
        if is_event {
            return self.read(webhook, rules, &body::form::to_json(&text), &repaired, &BTreeMap::new(), notes);
        }
        let read = self.read(webhook, rules, &text, &repaired, &BTreeMap::new(), notes);
        let Err(fault @ Fault::UnreadableJson { .. }) = read else { return read };
        let mended = body::repair(&text).ok_or(fault)?;
        if !mended.repairs.is_empty() {
            notes.count(Note::RepairedJson);
        }
        repaired.kinds.extend(mended.repairs.kinds());
        repaired.places = mended.repairs.located(&text);
        let broken =
            mended.broken.iter().map(|broken| (broken.position, body::unreadable_event(&text, &mended, broken)));
        self.read(webhook, rules, &mended.text, &repaired, &broken.collect(), notes)
    }

    /// Reads a body that is JSON, of which some events cannot be read, by their place. Where attributes are no object, they may be the
    /// text of one. What is no JSON leaves no notes.
    fn read(
        &self,
        webhook: &Webhook,
        rules: &Rules,
        text: &str,
        repaired: &Repaired,
        broken: &BTreeMap<u32, Fault>,
        notes: &mut Notes,
    ) -> Result<Output, Fault> {
        let (mut read, mut noted) = self.read_by_its_clock(webhook, rules, text, repaired, broken);
        if noted.get(Note::WrongKind) > 0
            && let Some(unfolded) = body::unfolded(text)
        {
            (read, noted) = self.read_by_its_clock(webhook, rules, &unfolded, repaired, broken);
        }
        if !matches!(read, Err(Fault::UnreadableJson { .. })) {
            notes.merge(&noted);
        }
        read
    }

    /// Reads a body once, and where it says, which may be behind its events, that the clock was wrong that dated them,
    /// again by that.
    fn read_by_its_clock(
        &self,
        webhook: &Webhook,
        rules: &Rules,
        text: &str,
        repaired: &Repaired,
        broken: &BTreeMap<u32, Fault>,
    ) -> (Result<Output, Fault>, Notes) {
        let (read, noted, ahead_ms) = self.body(webhook, rules, text.len(), repaired, broken, 0).read_all(text);
        if ahead_ms == 0 {
            return (read, noted);
        }
        let (read, noted, _) = self.body(webhook, rules, text.len(), repaired, broken, ahead_ms).read_all(text);
        (read, noted)
    }

    fn body<'a>(
        &'a self,
        webhook: &'a Webhook,
        rules: &'a Rules,
        bytes: usize,
        repaired: &Repaired,
        broken: &'a BTreeMap<u32, Fault>,
        ahead_ms: i64,
    ) -> Body<'a> {
        Body {
            context: Context {
                webhook,
                codes: &self.0.codes,
                rules,
                markers: true,
                mended_quotes: repaired.kinds.contains(&Repair::UnescapedQuote),
                maker: Maker::Template,
                ahead_ms,
                notes: Notes::default(),
            },
            output: Output::new(webhook, rules.revision(), repaired, bytes),
            item: Item::default(),
            properties: Properties::new(),
            own: Item::default(),
            lists: 0,
            broken,
            placeholders: &self.0.placeholders,
            stopped: None,
        }
    }
}

/// A transformer that may be gone.
#[derive(Debug, Clone)]
pub(crate) struct WeakTransformer(Weak<Parts>);

impl WeakTransformer {
    pub(crate) fn upgrade(&self) -> Option<Transformer> {
        self.0.upgrade().map(Transformer)
    }
}

#[cfg(test)]
mod tests;
