//! A mapping file, read: every problem at once, each with its line, its place and the remedy.

mod sections;

use std::{collections::BTreeSet, ops::Range};

use moehog_runtime::{NAME_RULE, is_name};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Heal, Rules,
    expression::{Expression, Node},
    like::like,
    problem::Problem,
    rule::{self, Rule, Target},
    scope, size,
};
use crate::value::{MAX_DEPTH, MAX_NAME_BYTES, types::Types};

/// Most mistakes of a file that are named: who mends these sees the others then.
const MAX_PROBLEMS: usize = 100;

const TOP: [&str; 10] =
    ["all", "allow", "date_order", "heal", "identity", "privacy", "rule", "sources", "timezone", "types"];

/// Reads a mapping file. `has_key` says whether there is a key to hash with.
pub(super) fn read(text: &str, has_key: bool) -> Result<Rules, Vec<Problem>> {
    let of_all = |message| Err(vec![Problem { line: 1, place: String::new(), message }]);
    if let Err(message) = size::check_file(text) {
        return of_all(message);
    }
    size::on_deep_stack(|| read_all(text, has_key))
        .unwrap_or_else(|error| of_all(format!("there is no thread to read it on: {error}")))
}

fn read_all(text: &str, has_key: bool) -> Result<Rules, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text, has_key);
    for error in errors.into_iter().take(MAX_PROBLEMS) {
        reader.report(error.span().unwrap_or(0..0), "", error.message().to_string());
    }
    if !reader.problems.is_empty() {
        reader.problems.sort_by_key(|problem| problem.line);
        return Err(reader.problems);
    }
    let table = table.get_ref();
    reader.known(table, "", &TOP);
    let mut rules = Rules { types: Types::new(reader.types(table)), ..Rules::default() };
    if let Some(heal) = reader.text(table, "", "heal") {
        match heal.as_str() {
            "connectors" => rules.heal = Heal::Connectors,
            "all" => rules.heal = Heal::All,
            "none" => rules.heal = Heal::None,
            _ => reader.at(table, "", "heal", "must be \"connectors\", \"all\" or \"none\""),
        }
    }
    rules.allow = reader.names(table, "", "allow");
    reader.sources(table, &mut rules);
    rules.identity = reader.identity(table);
    rules.privacy = reader.privacy(table);
    if let Some(value) = table.get("all") {
        let mut all = reader.rule(value, "all", &rules);
        all.keep = true;
        rules.all = Some(all);
    }
    for (number, value) in reader.tables(table, "rule").into_iter().enumerate() {
        let place = format!("rule {}", number + 1);
        if number == size::MAX_RULES {
            let message = format!(
                "a file has no more than {number} rules: write one with a condition such as `event in [\"a\", \"b\"]` in place of a rule an event"
            );
            reader.report(value.span(), &place, message);
            break;
        }
        let rule = reader.rule(value, &place, &rules);
        rules.list.push(rule);
    }
    rule::check(&rules, &mut |line, place, message| reader.push(line, place, message));
    reader.problems.sort_by_key(|problem| problem.line);
    if reader.problems.is_empty() { Ok(rules) } else { Err(reader.problems) }
}

struct Reader {
    /// Where each line ends.
    line_ends: Vec<usize>,
    /// How many there are.
    lines: usize,
    /// Whether there is a key to hash with.
    has_key: bool,
    problems: Vec<Problem>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl Reader {
    fn new(text: &str, has_key: bool) -> Self {
        let line_ends = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
        Self { line_ends, lines: text.lines().count().max(1), has_key, problems: Vec::new() }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        // what is unclosed at the end is told at the last line, and not behind it
        (1 + self.line_ends.partition_point(|end| *end < span.start)).min(self.lines)
    }

    fn report(&mut self, span: Range<usize>, place: &str, message: String) {
        self.push(self.line(&span), place, message);
    }

    fn push(&mut self, line: usize, place: &str, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, place: place.to_string(), message });
        }
    }

    /// Reports what is wrong with a key that is there.
    fn at(&mut self, table: &DeTable<'_>, place: &str, key: &str, message: &str) {
        let span = table.get(key).map_or(0..0, Spanned::span);
        self.report(span, &below(place, key), message.to_string());
    }

    /// Reports what hashes where there is no key to hash with.
    fn needs_key(&mut self, hashes: bool, span: Range<usize>, place: &str) {
        if hashes && !self.has_key {
            self.report(span, place, NO_KEY.to_string());
        }
    }

    /// Reports keys that mean nothing.
    fn known(&mut self, table: &DeTable<'_>, place: &str, keys: &[&str]) {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !keys.contains(&name) && self.problems.len() < MAX_PROBLEMS {
                let hint = match like(name, keys) {
                    Some(like) => format!("did you mean `{like}`?"),
                    None => format!("there are {}", keys.join(", ")),
                };
                self.report(key.span(), &below(place, name), format!("unknown key; {hint}"));
            }
        }
    }

    fn text(&mut self, table: &DeTable<'_>, place: &str, key: &str) -> Option<String> {
        let value = table.get(key)?;
        let text = value.get_ref().as_str().map(str::to_string);
        if text.is_none() {
            self.at(table, place, key, "must be a text");
        }
        text
    }

    fn flag(&mut self, table: &DeTable<'_>, place: &str, key: &str) -> Option<bool> {
        let value = table.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.at(table, place, key, "must be true or false");
        }
        flag
    }

    fn names(&mut self, table: &DeTable<'_>, place: &str, key: &str) -> BTreeSet<String> {
        self.texts(table, place, key).into_iter().map(|(text, _)| text).collect()
    }

    fn texts(&mut self, table: &DeTable<'_>, place: &str, key: &str) -> Vec<(String, Range<usize>)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let texts = value.get_ref().as_array().and_then(|list| {
            list.iter().map(|text| Some((text.get_ref().as_str()?.to_string(), text.span()))).collect()
        });
        texts.unwrap_or_else(|| {
            self.at(table, place, key, "must be a list of texts");
            Vec::new()
        })
    }

    fn table<'v, 't>(&mut self, table: &'v DeTable<'t>, place: &str, key: &str) -> Option<&'v DeTable<'t>> {
        let value = table.get(key)?;
        let inner = value.get_ref().as_table();
        if inner.is_none() {
            self.at(table, place, key, "must be a table");
        }
        inner
    }

    fn tables<'v, 't>(&mut self, table: &'v DeTable<'t>, key: &str) -> Vec<&'v Value<'t>> {
        let Some(value) = table.get(key) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(list) => list.iter().collect(),
            None => {
                self.at(table, "", key, "write each rule as a table of its own: [[rule]]");
                Vec::new()
            }
        }
    }

    fn rule(&mut self, value: &Value<'_>, place: &str, rules: &Rules) -> Rule {
        let mut rule = Rule { line: self.line(&value.span()), place: place.to_string(), ..Rule::default() };
        let Some(table) = value.get_ref().as_table() else {
            let written = if place == "all" { "[all]" } else { "[[rule]]" };
            self.report(value.span(), place, format!("must be a table: {written}"));
            return rule;
        };
        let keys: &[&str] = if place == "all" { &rule::KEYS_OF_ALL } else { &rule::KEYS };
        self.known(table, place, keys);
        rule.name = self.text(table, place, "name");
        rule.source = self.text(table, place, "source");
        if let Some(when) = self.text(table, place, "when") {
            match super::condition::Condition::compile(&when) {
                Ok(condition) => {
                    let span = table.get("when").map_or(0..0, Spanned::span);
                    self.needs_key(condition.hashes(), span, &below(place, "when"));
                    rule.when = Some(condition);
                }
                Err(message) => {
                    rule.is_unread = true;
                    self.at(table, place, "when", &message);
                }
            }
        }
        rule.filter = self.flag(table, place, "filter").unwrap_or(false);
        rule.keep = self.flag(table, place, "keep").unwrap_or(true);
        rule.continues = self.flag(table, place, "continue").unwrap_or(false);
        rule.destination = self.text(table, place, "destination");
        if rule.destination.as_deref().is_some_and(|name| !is_name(name)) {
            let message = format!("must be the name of one destination ({NAME_RULE}): write a rule for each");
            self.at(table, place, "destination", &message);
        }
        for (key, node) in [
            ("event", &mut rule.event),
            ("distinct_id", &mut rule.distinct_id),
            ("uuid", &mut rule.uuid),
            ("timestamp", &mut rule.timestamp),
        ] {
            *node = table.get(key).and_then(|value| self.node(value, &below(place, key), 0));
        }
        rule.properties = self.targets(table, place, "properties");
        rule.defaults = self.targets(table, place, "defaults");
        for (key, target) in rule
            .properties
            .iter()
            .map(|target| ("properties", target))
            .chain(rule.defaults.iter().map(|target| ("defaults", target)))
        {
            if target.name == "moehog" || (target.name.starts_with('$') && !rules.allow.contains(&target.name)) {
                let message = if target.name == "moehog" {
                    "is moehog's own: take another name".to_string()
                } else {
                    format!(
                        "names that begin with `$` are PostHog's: take another, or put \"{}\" into `allow`",
                        target.name
                    )
                };
                self.report(target.span.clone(), &format!("{place}, {key}.{}", target.name), message);
            }
        }
        if let Some(person) = self.table(table, place, "person") {
            let place = below(place, "person");
            self.known(person, &place, &["set", "set_once", "unset"]);
            rule.set = self.targets(person, &place, "set");
            rule.set_once = self.targets(person, &place, "set_once");
            rule.unset = self.texts(person, &place, "unset").into_iter().map(|(name, _)| scope::text(&name)).collect();
        }
        rule.groups = self.targets(table, place, "groups");
        rule
    }

    fn targets(&mut self, table: &DeTable<'_>, place: &str, key: &str) -> Vec<Target> {
        let mut targets = Vec::new();
        let place = below(place, key);
        for (name, value) in self.table(table, "", key).into_iter().flatten() {
            let name_text = name.get_ref().to_string();
            let Some(node) = self.node(value, &format!("{place}.{name_text}"), 0) else { continue };
            if name_text.len() > MAX_NAME_BYTES {
                let message = format!(
                    "is {} bytes long, and PostHog lists no property whose name has more than {MAX_NAME_BYTES}: shorten it",
                    name_text.len()
                );
                self.report(name.span(), &place, message);
            }
            let line = self.line(&name.span());
            targets.push(Target { key: scope::text(&name_text), name: name_text, node, span: name.span(), line });
        }
        // as they stand in the file
        targets.sort_by_key(|target| target.span.start);
        targets
    }

    /// A value that stands in `depth` others.
    fn node(&mut self, value: &Value<'_>, place: &str, depth: usize) -> Option<Node> {
        if self.problems.len() >= MAX_PROBLEMS {
            return None;
        }
        if depth > MAX_DEPTH {
            self.report(value.span(), "", format!("PostHog reads no value that stands in {MAX_DEPTH} others"));
            return None;
        }
        let constant = |json: String| Some(Node::One(Expression::Constant(json)));
        match value.get_ref() {
            DeValue::String(template) => match Node::compile(template) {
                Ok(node) => {
                    let mut hashes = false;
                    node.expressions(&mut |expression| hashes |= expression.hashes());
                    self.needs_key(hashes, value.span(), place);
                    Some(node)
                }
                Err(message) => {
                    self.report(value.span(), place, message);
                    None
                }
            },
            DeValue::Boolean(flag) => constant(flag.to_string()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => constant(number.to_string()),
                Err(_) => {
                    self.report(value.span(), place, "this number is too large: write it as a text".to_string());
                    None
                }
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>().map(serde_json::Number::from_f64) {
                Ok(Some(number)) => constant(number.to_string()),
                _ => {
                    self.report(value.span(), place, "JSON has no such number".to_string());
                    None
                }
            },
            DeValue::Datetime(time) => constant(scope::text(&time.to_string())),
            DeValue::Array(list) => {
                let nodes: Vec<_> = list.iter().map(|value| self.node(value, place, depth + 1)).collect();
                nodes.into_iter().collect::<Option<_>>().map(Node::List)
            }
            DeValue::Table(table) => {
                let member = |(name, value): (&Spanned<_>, &Value<'_>)| {
                    let name: &std::borrow::Cow<'_, str> = name.get_ref();
                    Some((name.to_string(), self.node(value, &format!("{place}.{name}"), depth + 1)?))
                };
                let members: Vec<_> = table.iter().map(member).collect();
                members.into_iter().collect::<Option<_>>().map(Node::Object)
            }
        }
    }
}

const NO_KEY: &str = "there is no key to hash with: set `mapping.hash_key` of the transformer, as in { file = \"/run/secrets/hash-key\" }";

fn below(place: &str, key: &str) -> String {
    match place {
        "" => key.to_string(),
        place if (place.starts_with("rule") || place == "all") && !place.contains(',') => format!("{place}, {key}"),
        place => format!("{place}.{key}"),
    }
}
