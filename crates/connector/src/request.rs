//! What to type into MoEngage's Connector, field by field.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::connector::Connector;

/// Paths that take an event in PostHog's form, with the project API key in it.
const CAPTURE: [&str; 5] = ["/capture", "/e", "/i/v0/e", "/batch", "/track"];

/// The example's key, which stands where none was given.
const API_KEY: &str = "<ph_project_api_key>";

/// Where the Connector posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    kind: TargetKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetKind {
    /// `/v1/in/{source}`, opened by a token.
    Source,
    /// A capture path of moehog's, opened by the project API key.
    Capture,
    /// The same at PostHog itself.
    PostHog,
}

/// Why an address is none to post to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is not a URL of the web.
    #[error("`{0}` is no address: write https://your.host/v1/in/NAME or https://your.host/capture/")]
    Url(String),
    /// It leads to nothing that takes events.
    #[error("nothing takes events at `{0}`: moehog does at /v1/in/NAME and /capture/")]
    Path(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let no_url = || TargetError::Url(url.to_string());
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or_else(no_url)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if host.is_empty() || url.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(no_url());
        }
        let path = path.split('?').next().unwrap_or_default();
        let name = path.strip_prefix("/v1/in/").map(|name| name.trim_end_matches('/'));
        let host = host.split(':').next().unwrap_or_default();
        let kind = if name.is_some_and(|name| !name.is_empty() && !name.contains('/')) {
            TargetKind::Source
        } else if !CAPTURE.contains(&path.trim_end_matches('/')) {
            return Err(TargetError::Path(path.to_string()));
        } else if host == "posthog.com" || host.ends_with(".posthog.com") {
            TargetKind::PostHog
        } else {
            TargetKind::Capture
        };
        Ok(Self { url: url.to_string(), kind })
    }
}

/// A Connector, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Always `POST`.
    pub method: &'static str,
    /// Where it posts.
    pub url: String,
    /// Names and values of its headers.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: String,
    /// What to know of it.
    pub notes: Vec<String>,
}

impl Request {
    /// The fields of a Connector that posts to `target`, with a token in the header of this name.
    #[must_use]
    pub fn new(mut connector: Connector, target: &Target, header: &str, token: Option<&str>) -> Self {
        let mut notes = Vec::new();
        let mut headers = vec![("Content-Type".to_string(), "application/json".to_string())];
        if target.kind == TargetKind::Source {
            connector.api_key = None;
            if token.is_none() {
                notes.push("put the source's token in place of <token>, or give --token".to_string());
            }
            let token = token.unwrap_or("<token>");
            let bearer = header.eq_ignore_ascii_case("authorization");
            let value = if bearer { format!("Bearer {token}") } else { token.to_string() };
            headers.push((header.to_string(), value));
        } else if connector.api_key.is_none() {
            connector.api_key = Some(API_KEY.to_string());
            notes.push(format!("put your project API key in place of {API_KEY}, or give --api-key"));
        }
        connector.compose_key &= target.kind != TargetKind::PostHog;
        notes.extend(key_notes(&connector, target.kind));
        if connector.time.is_none() {
            notes.push(
                "the event has the time of its arrival; --time-from names the attribute that says when it happened"
                    .to_string(),
            );
        }
        Self { method: "POST", url: target.url.clone(), headers, body: connector.body(), notes }
    }
}

impl Request {
    /// Adds a note of each trap that [`crate::lint()`] finds in the body, save those that a note tells of already.
    pub fn add_traps(&mut self) {
        let told = ["no_uuid", "no_timestamp", "api_key_left"];
        for finding in crate::lint(&self.body).into_iter().filter(|finding| !told.contains(&finding.code)) {
            let note = format!("{}: {}", finding.breaks, finding.why);
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

fn key_notes(connector: &Connector, kind: TargetKind) -> Option<String> {
    let Connector { id, key, time, .. } = connector;
    match (key, time) {
        (Some(key), _) if kind == TargetKind::PostHog => Some(format!(
            "PostHog itself refuses a request whose uuid is no UUID: {key} has to hold one, or post to moehog, which makes one of any text"
        )),
        (Some(_), _) => None,
        (None, Some(time)) if connector.compose_key => Some(format!(
            "the event's uuid is made of {id} and {time}: two events of one user in that moment count once; --uuid-from names a better one"
        )),
        (None, _) => Some(
            "MoEngage sends no id of the event, so what it sends twice counts twice; --uuid-from names an attribute that tells events apart"
                .to_string(),
        ),
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Method   {}", self.method)?;
        writeln!(formatter, "URL      {}", self.url)?;
        for (name, value) in &self.headers {
            writeln!(formatter, "Header   {name}: {value}")?;
        }
        for note in &self.notes {
            writeln!(formatter, "Note     {note}")?;
        }
        write!(formatter, "Body     Raw, all that follows\n\n{}", self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Attribute;

    fn request(url: &str, change: impl FnOnce(&mut Connector)) -> Request {
        let mut connector = Connector::new("purchase");
        change(&mut connector);
        Request::new(connector, &url.parse().unwrap(), "authorization", None)
    }

    #[test]
    fn a_source_is_opened_by_its_header_and_a_capture_path_by_the_key() {
        let source =
            request("https://your.host/v1/in/default", |connector| connector.api_key = Some("phc_x".to_string()));
        assert_eq!(source.headers[1], ("authorization".to_string(), "Bearer <token>".to_string()));
        assert!(!source.body.contains("api_key"), "{}", source.body);
        let capture = request("https://your.host/capture/", |_| {});
        assert_eq!(capture.headers.len(), 1);
        assert!(capture.body.contains(r#""api_key": "<ph_project_api_key>""#), "{}", capture.body);
        let target = "https://your.host/v1/in/default".parse().unwrap();
        let own = Request::new(Connector::new("purchase"), &target, "x-key", Some("secret"));
        assert_eq!(own.headers[1], ("x-key".to_string(), "secret".to_string()));
    }

    #[test]
    fn a_note_says_what_counts_twice() {
        let url = "https://your.host/v1/in/default";
        let note = |request: &Request, text: &str| request.notes.iter().any(|note| note.contains(text));
        assert!(note(&request(url, |_| {}), "counts twice"));
        let composed = request(url, |connector| connector.time = Some(Attribute::event("At")));
        assert!(note(&composed, "is made of UserAttribute['ID'] and EventAttribute['At']"));
        assert!(composed.body.contains("uuid"));
        let direct =
            request("https://us.i.posthog.com/capture/", |connector| connector.time = Some(Attribute::event("At")));
        assert!(note(&direct, "counts twice") && !direct.body.contains("uuid"));
        let keyed = request("https://us.i.posthog.com/e", |connector| connector.key = Some(Attribute::event("Order")));
        assert!(note(&keyed, "has to hold one"));
    }

    #[test]
    fn a_note_tells_each_trap_that_lint_finds() {
        let traps = |change: fn(&mut Connector)| {
            let mut request = request("https://your.host/v1/in/default", |connector| {
                connector.key = Some(Attribute::event("Order"));
                connector.time = Some(Attribute::event("At"));
                change(connector);
            });
            request.notes.clear();
            request.add_traps();
            request.notes.join("\n")
        };
        assert_eq!(traps(|_| {}), "");
        for (part, change) in [
            (
                "EventAttribute['Revenue'] is your value in a preview and MoEngage's own when sent",
                (|connector| connector.properties.push("revenue=EventAttribute['Revenue']:number".parse().unwrap()))
                    as fn(&mut Connector),
            ),
            ("CampaignAttribute['Flow Name'] is blank outside a Flow", |connector| {
                connector.person.push("flow=CampaignAttribute['Flow Name']".parse().unwrap());
            }),
            ("CampaignAttribute['Name'] is never filled", |connector| {
                connector.properties.push("campaign=CampaignAttribute['Name']".parse().unwrap());
            }),
            ("becomes a second person", |connector| connector.id = Attribute::user("Email (Standard)")),
        ] {
            assert!(traps(change).contains(part), "{}", traps(change));
        }
    }

    #[test]
    fn an_address_that_takes_no_events_is_refused() {
        for url in
            ["your.host", "https://", "https://your.host", "https://your.host/v1/in/", "https://h/a b", "ftp://h/e"]
        {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
        for url in
            ["http://127.0.0.1:8080/v1/in/default", "https://eu.posthog.com/batch/?x=1", "https://notposthog.com/e/"]
        {
            assert!(url.parse::<Target>().is_ok(), "{url}");
        }
        assert_eq!("https://notposthog.com/e/".parse::<Target>().unwrap().kind, TargetKind::Capture);
    }
}
