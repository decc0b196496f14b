//! Events found without parsing what need not be known: for a sink that only counts.
//!
//! It walks the top level of each event and jumps over the rest, so a wrong type inside `properties` goes unseen.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use memchr::memchr2;
use uuid::Uuid;

use crate::posthog::{refusal::Refusal, time};

/// A body's events, borrowed from it.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    pub(crate) key: Option<Cow<'a, str>>,
    pub(crate) events: Vec<Event<'a>>,
}

#[derive(Debug, Default)]
pub(crate) struct Event<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) event: Cow<'a, str>,
    pub(crate) distinct_id: Cow<'a, str>,
    key: Option<Cow<'a, str>>,
    uuid: Option<&'a str>,
    timestamp: Option<&'a str>,
}

impl Event<'_> {
    /// Of PostHog's key.
    pub(crate) fn dedup_hash(&self, key: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        match self.timestamp {
            Some(text) if text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T') => text[..10].hash(&mut hasher),
            Some(text) => {
                let at = time::parse(text).map(|at| at.to_string()).unwrap_or_default();
                at.get(..10).unwrap_or_default().hash(&mut hasher);
            }
            None => {}
        }
        self.event.hash(&mut hasher);
        self.distinct_id.hash(&mut hasher);
        match self.uuid.and_then(|text| Uuid::try_parse(text).ok()) {
            Some(uuid) => uuid.hash(&mut hasher),
            None => Uuid::now_v7().hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// Finds a body's events.
pub(crate) fn find(body: &[u8]) -> Result<Batch<'_>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::Decode(error.to_string()))?;
    let broken = || Refusal::Parse("data did not match any variant of untagged enum RawRequest".into());
    let batch = Cursor { text, at: 0 }.batch().ok_or_else(broken)?;
    for event in &batch.events {
        if event.event.is_empty() {
            return Err(Refusal::EmptyName);
        }
        if event.distinct_id.trim().is_empty() {
            return Err(Refusal::NoDistinctId);
        }
        if event.uuid.is_some_and(|text| !text.is_empty() && Uuid::try_parse(text).is_err()) {
            return Err(broken());
        }
    }
    Ok(batch)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn batch(mut self) -> Option<Batch<'a>> {
        let mut batch = Batch::default();
        match self.peek()? {
            b'[' => {
                batch.events = self.events()?;
                batch.key = batch.events.iter().find_map(|event| event.key.clone());
            }
            b'{' => {
                let start = self.at;
                let mut is_batch = false;
                self.object(|cursor, name| {
                    match name {
                        "batch" => {
                            batch.events = cursor.events()?;
                            is_batch = true;
                        }
                        "api_key" | "token" => batch.key = Some(cursor.string()?),
                        _ => cursor.skip()?,
                    }
                    Some(())
                })?;
                if is_batch && batch.key.is_none() {
                    return None;
                }
                if !is_batch {
                    self.at = start;
                    let event = self.event()?;
                    batch.key = event.key.clone();
                    batch.events.push(event);
                }
            }
            _ => return None,
        }
        if self.peek().is_some() { None } else { Some(batch) }
    }

    fn events(&mut self) -> Option<Vec<Event<'a>>> {
        let mut events = Vec::new();
        self.take(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(events);
        }
        loop {
            events.push(self.event()?);
            match self.next()? {
                b',' => {}
                b']' => return Some(events),
                _ => return None,
            }
        }
    }

    fn event(&mut self) -> Option<Event<'a>> {
        let mut event = Event::default();
        let mut has_name = false;
        self.peek()?;
        let start = self.at;
        self.object(|cursor, name| {
            match name {
                "event" => {
                    event.event = cursor.string()?;
                    has_name = true;
                }
                "distinct_id" | "$distinct_id" => event.distinct_id = cursor.text()?,
                "uuid" => event.uuid = Some(cursor.borrowed()?),
                "timestamp" => event.timestamp = Some(cursor.borrowed()?),
                "token" | "$token" | "api_key" if event.key.is_some() => return None,
                "token" | "$token" | "api_key" => event.key = Some(cursor.string()?),
                _ => cursor.skip()?,
            }
            Some(())
        })?;
        event.raw = &self.text.as_bytes()[start..self.at];
        has_name.then_some(event)
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.peek()?;
            let name = self.string()?;
            self.take(b':')?;
            self.peek()?;
            member(self, &name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, want: u8) -> Option<()> {
        (self.next()? == want).then_some(())
    }

    /// A string with its quotes, as written.
    fn quoted(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.take(b'"')?;
        let bytes = self.text.as_bytes();
        loop {
            self.at += memchr2(b'"', b'\\', bytes.get(self.at..)?)?;
            if bytes[self.at] == b'"' {
                self.at += 1;
                return self.text.get(start..self.at);
            }
            self.at += 2;
        }
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.quoted()?;
        let inner = quoted.get(1..quoted.len() - 1)?;
        if inner.contains('\\') { serde_json::from_str(quoted).ok() } else { Some(Cow::Borrowed(inner)) }
    }

    fn borrowed(&mut self) -> Option<&'a str> {
        let quoted = self.quoted()?;
        quoted.get(1..quoted.len() - 1)
    }

    /// A string's content, or another value as written.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let start = self.at;
        self.skip()?;
        let raw = self.text.get(start..self.at)?;
        Some(Cow::Borrowed(if raw == "null" { "" } else { raw }))
    }

    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.quoted()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.scalar()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn scalar(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let end = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))?;
        self.at += end;
        (end > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_parser_finds() {
        let body =
            br#" {"api_key":"phc_\u0061","sent_at":"x","batch":[ {"event":"a \"q\"","distinct_id":42,"properties":
            {"event":"inner","deep":[{"x":"]}"},1.5e3,null,true,"\\"]},"uuid":"0191f1f0-0000-7000-8000-000000000001"},
            {"timestamp":"2026-01-01T00:00:00Z","distinct_id":"u","event":"b"}],"n":{}} "#;
        let batch = find(body).unwrap();
        assert_eq!(batch.key.as_deref(), Some("phc_a"));
        let found: Vec<_> = batch.events.iter().map(|event| (&*event.event, &*event.distinct_id)).collect();
        assert_eq!(found, [("a \"q\"", "42"), ("b", "u")]);
        let parsed: serde_json::Value = serde_json::from_slice(body).unwrap();
        for (event, want) in batch.events.iter().zip(parsed["batch"].as_array().unwrap()) {
            assert_eq!(&serde_json::from_slice::<serde_json::Value>(event.raw).unwrap(), want);
        }
    }

    #[test]
    fn broken_json_is_refused() {
        for body in [
            "",
            "{",
            "[",
            "{}",
            "42",
            r#"{"event":"a""#,
            r#"[{"event":"a"},"#,
            r#"{"event":"a"}}"#,
            "{\"event\":\"a\\\"",
        ] {
            assert!(find(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn the_hash_is_that_of_posthogs_key() {
        let hash = |event: &str, id: &str, uuid: &str, at: &str| {
            let body =
                format!(r#"{{"event":"{event}","distinct_id":"{id}","uuid":"{uuid}","timestamp":"{at}","n":1}}"#);
            find(body.as_bytes()).unwrap().events[0].dedup_hash("phc_a")
        };
        const UUID: &str = "0191f1f0-0000-7000-8000-000000000001";
        let one = hash("a", "u", UUID, "2026-01-01T00:00:00Z");
        assert_eq!(one, hash("a", "u", &UUID.replace('-', ""), "2026-01-01T23:59:59.5Z"));
        assert_eq!(one, hash("a", "u", UUID, "2026-01-02T01:00:00+02:00"));
        assert_ne!(one, hash("a", "u", UUID, "2026-01-02T00:00:00Z"));
        assert_ne!(one, hash("b", "u", UUID, "2026-01-01T00:00:00Z"));
        assert_ne!(one, hash("a", "v", UUID, "2026-01-01T00:00:00Z"));
    }
}
