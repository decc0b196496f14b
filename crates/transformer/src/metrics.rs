//! The transformer's metrics; counters move once a call.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use metrics::{Label, counter, gauge, histogram};
use moehog_proto::transformer::{TransformedWebhook, mapped_event::Outcome, transformed_webhook};
use parking_lot::Mutex;

use crate::{Note, Notes, notes::OTHER};

/// What became of webhooks and events, counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    webhooks_mapped: u64,
    webhooks_rejected: u64,
    events: u64,
    filtered: u64,
    duplicate: u64,
    dead: u64,
    /// By source.
    notes: BTreeMap<String, Notes>,
}

impl Tally {
    /// Adds one webhook of a source.
    pub(crate) fn add(&mut self, source: &str, webhook: &TransformedWebhook, notes: &Notes) {
        match self.notes.get_mut(source) {
            Some(known) => known.merge(notes),
            None => drop(self.notes.insert(source.to_string(), notes.clone())),
        }
        let Some(transformed_webhook::Result::Mapped(mapped)) = &webhook.result else {
            self.webhooks_rejected += 1;
            return;
        };
        self.webhooks_mapped += 1;
        for event in &mapped.events {
            match &event.outcome {
                Some(Outcome::Event(_)) => self.events += 1,
                Some(Outcome::Filtered(_)) => self.filtered += 1,
                Some(Outcome::Duplicate(_)) => self.duplicate += 1,
                Some(Outcome::Dead(_)) | None => self.dead += 1,
            }
        }
    }
}

/// `moehog_transformer_{webhooks,events,notes,types}_total` and `moehog_transformer_call_seconds`: one Transform call answered.
pub(crate) fn transformed(tally: &Tally, took: Duration) {
    for (outcome, count) in [("mapped", tally.webhooks_mapped), ("rejected", tally.webhooks_rejected)] {
        if count > 0 {
            counter!("moehog_transformer_webhooks_total", "outcome" => outcome).increment(count);
        }
    }
    for (outcome, count) in
        [("event", tally.events), ("filtered", tally.filtered), ("duplicate", tally.duplicate), ("dead", tally.dead)]
    {
        if count > 0 {
            counter!("moehog_transformer_events_total", "outcome" => outcome).increment(count);
        }
    }
    for (source, notes) in &tally.notes {
        noted(source, notes);
        for (property, count) in notes.types() {
            for (outcome, count) in [("healed", count.healed), ("kept", count.kept)] {
                if count > 0 {
                    let labels =
                        [("source", source.clone()), ("property", property.clone()), ("outcome", outcome.to_string())];
                    counter!("moehog_transformer_types_total", &labels).increment(count);
                }
            }
        }
    }
    histogram!("moehog_transformer_call_seconds").record(took.as_secs_f64());
}

/// Most pairs of a note and a property that a source has in the metrics; the properties of all others are [`OTHER`].
const MAX_NOTED: usize = 200;

/// `moehog_transformer_notes_total{source,note,weight}` and `moehog_transformer_noted_properties_total{source,note,property}`.
fn noted(source: &str, notes: &Notes) {
    static KNOWN: Mutex<BTreeMap<String, BTreeSet<(Note, String)>>> = Mutex::new(BTreeMap::new());
    let labels = |note: Note| vec![Label::new("source", source.to_string()), Label::new("note", note.name())];
    let mut known = KNOWN.lock();
    let is_new = !known.contains_key(source);
    for note in Note::ALL.iter().filter(|note| is_new || notes.get(**note) > 0) {
        // they are there before the first, so that their growth can be asked for
        let mut labels = labels(*note);
        labels.push(Label::new("weight", note.weight()));
        counter!("moehog_transformer_notes_total", labels).increment(notes.get(*note));
    }
    if !is_new && notes.said().is_empty() {
        return;
    }
    let known = known.entry(source.to_string()).or_default();
    for (pair, times) in notes.said() {
        let mut labels = labels(pair.0);
        labels.push(Label::new("property", label(known, pair).to_string()));
        counter!("moehog_transformer_noted_properties_total", labels).increment(*times);
    }
}

/// The property of a note as a label; [`OTHER`] where a source has too many.
fn label<'p>(known: &mut BTreeSet<(Note, String)>, pair: &'p (Note, String)) -> &'p str {
    let is_known = known.contains(pair) || (known.len() < MAX_NOTED && known.insert(pair.clone()));
    if is_known { &pair.1 } else { OTHER }
}

/// `moehog_transformer_mapping_info{revision}`: 1 for the mapping in use, 0 for those before it.
pub(crate) fn mapping(revision: &str) {
    static LAST: Mutex<Option<String>> = Mutex::new(None);
    let before = LAST.lock().replace(revision.to_string());
    if let Some(before) = before.filter(|before| before != revision) {
        gauge!("moehog_transformer_mapping_info", "revision" => before).set(0);
    }
    gauge!("moehog_transformer_mapping_info", "revision" => revision.to_string()).set(1);
}

/// `moehog_transformer_mapping_reloads_total{outcome}`: a change of the mapping file was `taken` or `refused`, or the file was `gone`.
pub(crate) fn reload(outcome: &'static str) {
    reloads(outcome, 1);
}

/// The counts are there before the first change, so that their growth can be asked for.
pub(crate) fn reloads_begin() {
    ["taken", "refused", "gone"].into_iter().for_each(|outcome| reloads(outcome, 0));
    outdated(false);
}

fn reloads(outcome: &'static str, times: u64) {
    counter!("moehog_transformer_mapping_reloads_total", "outcome" => outcome).increment(times);
}

/// `moehog_transformer_mapping_outdated`: 1 while the mapping in use is not what the file says, since the file is wrong
/// or gone.
pub(crate) fn outdated(is_outdated: bool) {
    gauge!("moehog_transformer_mapping_outdated").set(f64::from(u8::from(is_outdated)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_properties_of_a_source_are_bounded() {
        let (mut known, mut labels) = (BTreeSet::new(), BTreeSet::new());
        for event in 0..10 {
            let mut notes = Notes::default();
            for property in 0..100 {
                notes.say(Note::KeptText, &format!("property {event} {property}"), "");
            }
            assert_eq!((notes.get(Note::KeptText), notes.take_told().len()), (100, 20));
            labels.extend(notes.said().keys().map(|pair| label(&mut known, pair).to_string()));
        }
        assert_eq!((known.len(), labels.len()), (MAX_NOTED, MAX_NOTED + 1));
        assert!(labels.contains(OTHER));
    }
}
