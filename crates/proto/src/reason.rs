//! Why an event or a webhook ended as it did, or waits: made where that is known, passed on whole, shown to people.
//!
//! It travels in three messages, which an older moehog wrote with less: those are read here, and here alone.

use std::fmt;

use crate::{
    delivery::{EventVerdict, Verdict},
    event::{Blame, Reason},
    journal::{EventOutcome, EventState},
    transformer::Rejection,
};

impl Reason {
    /// A reason with nothing to do about it; `message` says what is wrong, for a person.
    pub fn new(blame: Blame, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), blame: blame.into(), ..Self::default() }
    }

    /// A word that explains itself, of an event with which nothing is wrong.
    pub fn word(code: impl Into<String>) -> Self {
        Self { code: code.into(), ..Self::default() }
    }

    /// The same about this member of the body, or key of the configuration.
    #[must_use]
    pub fn about(self, field: impl Into<String>) -> Self {
        Self { field: field.into(), ..self }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn remedied(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// What is wrong and what to do about it, without the code.
    #[must_use]
    pub fn sentence(&self) -> String {
        let end = if self.message.is_empty() || self.remedy.is_empty() { "" } else { "; " };
        format!("{}{end}{}", self.message, self.remedy)
    }

    /// Where the remedy lies, in a word; none where nothing is wrong.
    #[must_use]
    pub fn blame_name(&self) -> Option<&'static str> {
        match self.blame() {
            Blame::Unspecified => None,
            Blame::Body => Some("body"),
            Blame::Mapping => Some("mapping"),
            Blame::Destination => Some("destination"),
            Blame::Moehog => Some("moehog"),
        }
    }

    /// Of an older moehog: `detail` may hold a remedy, which is left in it.
    fn former(code: String, detail: String) -> Self {
        let blame = match code.as_str() {
            "" => Blame::Unspecified,
            "invalid_mapping" | "transform_failed" | "webhook_unreadable" => Blame::Moehog,
            rule if rule.starts_with("rule_") => Blame::Mapping,
            _ => Blame::Body,
        };
        Self::new(blame, code, detail)
    }

    /// Of an older moehog's text, `code: sentence` where it was one.
    fn of_text(text: &str) -> Self {
        let is_code = |word: &str| {
            word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_ ".contains(&byte))
        };
        let (code, sentence) = match text.split_once(": ") {
            Some((code, sentence)) if is_code(code) => (code, sentence),
            _ if is_code(text) => (text, ""),
            _ => ("", text),
        };
        Self { code: code.replace(' ', "_"), message: sentence.to_string(), ..Self::default() }
    }
}

/// All of it, as `code: message; remedy`.
impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.code.is_empty() || self.message.is_empty() && self.remedy.is_empty() { "" } else { ": " };
        write!(formatter, "{}{end}{}", self.code, self.sentence())
    }
}

impl From<Reason> for Rejection {
    fn from(why: Reason) -> Self {
        let Reason { code, field, message, remedy, blame } = why;
        Self { reason: code, detail: message, field, remedy, blame }
    }
}

impl From<Rejection> for Reason {
    fn from(rejection: Rejection) -> Self {
        let Rejection { reason: code, detail: message, field, remedy, blame } = rejection;
        match blame {
            0 => Self::former(code, message),
            _ => Self { code, field, message, remedy, blame },
        }
    }
}

impl EventVerdict {
    /// The verdict, and why it is given.
    pub fn give(&mut self, mut verdict: Verdict, why: &Reason) {
        match &mut verdict {
            Verdict::Delivered(_) => {}
            Verdict::Degraded(degraded) => degraded.reason = why.to_string(),
            Verdict::Rejected(rejected) => rejected.reason = why.to_string(),
            Verdict::Retry(retry) => retry.reason = why.to_string(),
            Verdict::Hold(hold) => hold.reason = why.to_string(),
            Verdict::Refused(refused) => refused.reason = why.to_string(),
        }
        self.why = (*why != Reason::default()).then(|| Box::new(why.clone()));
        self.verdict = Some(verdict);
    }

    /// Takes out why the verdict is given.
    pub fn take_why(&mut self) -> Reason {
        if let Some(why) = self.why.take() {
            return *why;
        }
        let text = match &self.verdict {
            None | Some(Verdict::Delivered(_)) => return Reason::default(),
            Some(Verdict::Degraded(degraded)) => &degraded.reason,
            Some(Verdict::Rejected(rejected)) => &rejected.reason,
            Some(Verdict::Retry(retry)) => &retry.reason,
            Some(Verdict::Hold(hold)) => &hold.reason,
            Some(Verdict::Refused(refused)) => &refused.reason,
        };
        Reason { blame: Blame::Destination.into(), ..Reason::of_text(text) }
    }
}

impl EventOutcome {
    /// Says why its state is as it is.
    pub fn explain(&mut self, why: Reason) {
        Reason { code: self.reason, field: self.field, message: self.detail, remedy: self.remedy, blame: self.blame } =
            why;
    }

    /// Why its state is as it is.
    #[must_use]
    pub fn why(&self) -> Reason {
        let (code, message) = (self.reason.clone(), self.detail.clone());
        match (self.blame, self.state()) {
            (0, EventState::Dead) => Reason::former(code, message),
            (0, EventState::Pending | EventState::DeliveredDegraded) if message.is_empty() => Reason::of_text(&code),
            (blame, _) => Reason { code, field: self.field.clone(), message, remedy: self.remedy.clone(), blame },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::delivery::{Hold, Refused, Retry};

    use super::*;

    fn whole() -> Reason {
        Reason::new(Blame::Body, "missing_event", "no name").about("event").remedied("give it one")
    }

    #[test]
    fn it_travels_whole_and_is_shown_whole() {
        assert_eq!(Reason::from(Rejection::from(whole())), whole());
        for state in [EventState::Dead, EventState::Pending, EventState::Filtered] {
            let mut outcome = EventOutcome { state: state.into(), ..EventOutcome::default() };
            outcome.explain(whole());
            assert_eq!(outcome.why(), whole());
        }
        let mut given = EventVerdict::default();
        given.give(Verdict::Hold(Hold::default()), &whole());
        assert_eq!(given.verdict, Some(Verdict::Hold(Hold { reason: "missing_event: no name; give it one".into() })));
        assert_eq!(given.take_why(), whole());
        assert_eq!(whole().sentence(), "no name; give it one");
        assert_eq!(Reason::word("routed").to_string(), "routed");
        assert_eq!(Reason::new(Blame::Body, "", "no name").to_string(), "no name");
        assert_eq!(Reason::default().to_string(), "");
    }

    #[test]
    fn what_an_older_moehog_wrote_is_read() {
        let rejected =
            |code: &str| Rejection { reason: code.into(), detail: "no: none".into(), ..Rejection::default() };
        for (code, blame) in [
            ("missing_event", Blame::Body),
            ("rule_failed", Blame::Mapping),
            ("transform_failed", Blame::Moehog),
            ("invalid_mapping", Blame::Moehog),
        ] {
            assert_eq!(Reason::from(rejected(code)), Reason::new(blame, code, "no: none"));
            let dead = EventOutcome {
                state: EventState::Dead.into(),
                reason: code.into(),
                detail: "no: none".into(),
                ..EventOutcome::default()
            };
            assert_eq!(dead.why(), Reason::new(blame, code, "no: none"));
        }
        for (text, code, message) in [
            ("refused: PostHog said: no", "refused", "PostHog said: no"),
            ("given back: others were refused", "given_back", "others were refused"),
            ("no verdict", "no_verdict", ""),
            ("status 503 `{\"a\": 1}`", "", "status 503 `{\"a\": 1}`"),
            ("", "", ""),
        ] {
            let open =
                EventOutcome { state: EventState::Pending.into(), reason: text.into(), ..EventOutcome::default() };
            assert_eq!((open.why().code.as_str(), open.why().message.as_str()), (code, message), "{text}");
            for verdict in [
                Verdict::Refused(Refused { reason: text.into() }),
                Verdict::Retry(Retry { reason: text.into(), ..Retry::default() }),
            ] {
                let why = EventVerdict { verdict: Some(verdict), ..EventVerdict::default() }.take_why();
                assert_eq!(why, Reason::new(Blame::Destination, code, message), "{text}");
            }
        }
        let filtered = EventOutcome {
            state: EventState::Filtered.into(),
            reason: "rule: line 3".into(),
            ..EventOutcome::default()
        };
        assert_eq!(filtered.why(), Reason::word("rule: line 3"));
        assert_eq!(EventVerdict::default().take_why(), Reason::default());
    }
}
