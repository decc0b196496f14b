//! Fills a template many times over.

use std::collections::BTreeMap;

use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value,
    value::{Kwargs, Rest},
};

use super::{
    template::{Name, Template},
    values::Fill,
};

const OBJECT: &str = "moehog_probe";
const NOT_SENT: &str = "MOE_NOT_SEND";

/// Filters of MoEngage's, and of Jinja's that this engine lacks; what they do to a value changes no finding.
///
/// Source: MoEngage, "Jinja Templating Language" (read 2026-11); Jinja 3.1, "List of Builtin Filters".
const PASSED: [&str; 19] = [
    "base64decode",
    "base64encode",
    "convertToSHA256",
    "convertToSHA256NoSalt",
    "dateFormatter",
    "dateTimeFormatter",
    "today",
    "urldecode",
    "urlencode",
    "center",
    "filesizeformat",
    "forceescape",
    "random",
    "striptags",
    "truncate",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// What became of a template that was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent(String),
    /// The template said that nothing shall be sent.
    NotSent,
    /// This engine cannot fill it; the reason.
    Failed(String),
}

/// A template and ways to fill it.
#[derive(Debug)]
pub(super) struct Probes {
    environment: Environment<'static>,
    text: String,
    /// Look-ups of one name have values of one kind; by the place of the look-up.
    groups: Vec<usize>,
    /// What gets a look-up past the template's own conditions.
    compared: Vec<Option<String>>,
    /// Whether a loop goes through a look-up.
    iterated: Vec<bool>,
}

impl Probes {
    pub(super) fn new(template: &Template) -> Self {
        let names: Vec<&Name> = template.accesses.iter().map(|access| &access.name).collect();
        let groups: Vec<usize> = names
            .iter()
            .enumerate()
            .map(|(at, name)| names.iter().position(|first| first == name).unwrap_or(at))
            .collect();
        let text_of = |group: &usize| {
            let members = template.accesses.iter().zip(&groups).filter(|(_, other)| *other == group);
            members.filter_map(|(access, _)| access.compared_with.clone()).next()
        };
        let compared = groups.iter().map(text_of).collect();
        let is_iterated = |group: &usize| {
            template.accesses.iter().zip(&groups).any(|(access, other)| other == group && access.is_iterated)
        };
        let iterated = groups.iter().map(is_iterated).collect();
        Self { environment: environment(), text: template.looking_up(OBJECT), groups, compared, iterated }
    }

    /// How many look-ups there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The first look-up of each name.
    pub(super) fn groups(&self) -> Vec<usize> {
        (0..self.len()).filter(|at| self.groups[*at] == *at).collect()
    }

    /// The look-ups of one name.
    pub(super) fn members(&self, group: usize) -> Vec<usize> {
        (0..self.len()).filter(|at| self.groups[*at] == group).collect()
    }

    /// Fills each look-up by its place.
    pub(super) fn filled(&self, fill: impl Fn(usize) -> Fill) -> Outcome {
        let value = |at: usize| match (fill(at), &self.compared[at]) {
            (Fill::Missing, _) => None,
            (Fill::Blank, _) if self.iterated[at] => Some(Value::from(Vec::<Value>::new())),
            // a comma between two shows only where there are two
            (fill, _) if self.iterated[at] => fill.value(at).map(|value| Value::from(vec![value.clone(), value])),
            (Fill::Number | Fill::Word | Fill::Nasty, Some(text)) => Some(Value::from(text.clone())),
            (fill, _) => fill.value(at),
        };
        let values: BTreeMap<String, Value> =
            (0..self.len()).filter_map(|at| Some((format!("p{at}"), value(at)?))).collect();
        let context = BTreeMap::from([(OBJECT.to_string(), Value::from(values))]);
        match self.environment.render_str(&self.text, Value::from(context)) {
            Ok(text) if text.contains(NOT_SENT) => Outcome::NotSent,
            Ok(text) => Outcome::Sent(text),
            Err(error) if is_not_sent(&error) => Outcome::NotSent,
            Err(error) => Outcome::Failed(error.detail().map_or_else(|| error.kind().to_string(), str::to_string)),
        }
    }
}

fn is_not_sent(error: &Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<Error>().is_some_and(|error| error.detail() == Some(NOT_SENT)) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.add_function(NOT_SENT, |_: Rest<Value>| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, NOT_SENT))
    });
    for name in PASSED {
        environment.add_filter(name, |value: Value, _: Rest<Value>, _: Kwargs| value);
    }
    // from one date to another
    environment.add_filter("days", |_: Value, _: Rest<Value>, _: Kwargs| 2);
    environment.add_filter("tojson", |value: Value, _: Rest<Value>| match value.as_str() {
        Some(text) => serde_json::Value::from(text).to_string(),
        None if value.is_undefined() || value.is_none() => "null".to_string(),
        None => value.to_string(),
    });
    for name in ["int", "float"] {
        // Jinja makes 0 of a text that is no number
        environment.add_filter(name, |value: Value, _: Rest<Value>| {
            let number = value.to_string().trim().parse::<f64>().unwrap_or_default();
            if number.fract() == 0.0 { Value::from(number as i64) } else { Value::from(number) }
        });
    }
    environment.set_unknown_method_callback(|_, value, _, _| Ok(value.clone()));
    environment
}
