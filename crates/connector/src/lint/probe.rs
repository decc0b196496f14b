//! Fills a template many times over.

use std::collections::BTreeMap;

use minijinja::{Environment, Error, Value};

use super::{
    engine::{self, NOT_SENT},
    template::{Expected, Name, Piece, TagKind, Template, word},
    values::{self, Fill},
};

const OBJECT: &str = "moehog_probe";
/// Stands for what a place gives that this engine cannot fill: a number suits a JSON text and a JSON value alike.
const UNKNOWN: &str = "unknown";
/// Places that are left aside, so that the others are looked at.
const MAX_UNKNOWN: usize = 20;

/// What became of a template that was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Sent(String),
    /// The template said that nothing shall be sent.
    NotSent,
    /// This engine cannot fill it; the reason.
    Failed(String),
}

/// A place that this engine cannot fill.
#[derive(Debug)]
pub(super) struct LeftAside {
    /// Which of the template's tags.
    pub(super) tag: usize,
    pub(super) reason: String,
}

/// A template and ways to fill it.
#[derive(Debug)]
pub(super) struct Probes<'t> {
    template: &'t Template,
    environment: Environment<'static>,
    pieces: Vec<Piece>,
    /// Look-ups of one name have values of one kind; by the place of the look-up.
    groups: Vec<usize>,
    /// What gets a look-up past the template's own conditions.
    compared: Vec<Option<String>>,
    /// Look-ups that are calculated with: of a text nothing would come.
    numeric: Vec<bool>,
    /// What is not looked at.
    pub(super) left_aside: Vec<LeftAside>,
}

impl<'t> Probes<'t> {
    pub(super) fn new(template: &'t Template) -> Self {
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
        let mut probes = Self {
            template,
            environment: engine::environment(&template.filters),
            pieces: template.pieces(OBJECT),
            compared: groups.iter().map(text_of).collect(),
            numeric: vec![false; groups.len()],
            groups,
            left_aside: Vec::new(),
        };
        probes.leave_aside_what_fails();
        probes.pass_conditions();
        probes
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
        self.outcome(&self.environment, fill)
    }

    /// The same at a point in time in milliseconds since the epoch, which the filters of dates print.
    pub(super) fn filled_at(&self, ms: i64, fill: impl Fn(usize) -> Fill) -> Outcome {
        let mut environment = self.environment.clone();
        engine::print_at(&mut environment, ms);
        self.outcome(&environment, fill)
    }

    fn outcome(&self, environment: &Environment<'_>, fill: impl Fn(usize) -> Fill) -> Outcome {
        match environment.render_str(&self.text(), self.context(fill)) {
            Ok(text) if text.contains(NOT_SENT) => Outcome::NotSent,
            Ok(text) => Outcome::Sent(text),
            Err(error) if is_not_sent(&error) => Outcome::NotSent,
            Err(error) => Outcome::Failed(reason(&error)),
        }
    }

    fn text(&self) -> String {
        self.pieces.iter().map(|piece| &*piece.text).collect()
    }

    fn context(&self, fill: impl Fn(usize) -> Fill) -> Value {
        let value = |at: usize| {
            let fill = match fill(at) {
                Fill::Word | Fill::Nasty | Fill::Blank if self.numeric[at] => Fill::Number,
                fill => fill,
            };
            let leaf = match (fill, &self.compared[at]) {
                (Fill::Number | Fill::Word | Fill::Nasty, Some(text)) => Value::from(text.clone()),
                (fill, _) => fill.value(at)?,
            };
            Some(of_kind(&self.template.accesses[at].expected, &leaf, fill == Fill::Blank))
        };
        let mut values: BTreeMap<String, Value> =
            (0..self.len()).filter_map(|at| Some((format!("p{at}"), value(at)?))).collect();
        values.insert(UNKNOWN.to_string(), Value::from(values::UNKNOWN));
        Value::from(BTreeMap::from([(OBJECT.to_string(), Value::from(values))]))
    }

    /// Takes what this engine fails at for a number, place by place, so that the rest is looked at.
    fn leave_aside_what_fails(&mut self) {
        for _ in 0..MAX_UNKNOWN {
            let Some((at, reason)) = self.failure(|_| Fill::Number) else { break };
            if !self.leave_aside(at, reason) {
                return;
            }
        }
        if self.failure(|_| Fill::Word).is_none() {
            return;
        }
        for group in self.groups() {
            let members = self.members(group);
            let fill = |at: usize| if members.contains(&at) { Fill::Word } else { Fill::Number };
            if self.failure(fill).is_some() {
                members.iter().for_each(|at| self.numeric[*at] = true);
            }
        }
        for _ in 0..MAX_UNKNOWN {
            let Some((at, reason)) = self.failure(|_| Fill::Word) else { break };
            if !self.leave_aside(at, reason) {
                return;
            }
        }
    }

    /// Where no value gets past the outermost conditions, takes each as true, else as false.
    fn pass_conditions(&mut self) {
        let (mut depth, mut outermost) = (0_usize, Vec::new());
        for (at, piece) in self.pieces.iter().enumerate() {
            let Some(tag) = piece.tag.filter(|tag| self.template.tags[*tag].kind == TagKind::Statement) else {
                continue;
            };
            match word(&piece.text) {
                "if" if depth == 0 => {
                    outermost.push((at, tag));
                    depth += 1;
                }
                "if" | "for" | "macro" | "call" | "filter" | "with" => depth += 1,
                end if end.starts_with("end") => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        for (at, tag) in outermost {
            if self.prints_something() {
                return;
            }
            let written = self.pieces[at].text.clone();
            let passes = ["true", "false"].iter().any(|value| {
                self.pieces[at].text = format!("{{% if {value} %}}");
                self.prints_something()
            });
            if passes {
                let reason = "no test value gets past this condition".to_string();
                self.left_aside.push(LeftAside { tag, reason });
            } else {
                self.pieces[at].text = written;
            }
        }
    }

    fn prints_something(&self) -> bool {
        [Fill::Number, Fill::Word].into_iter().any(|fill| self.prints(fill))
    }

    fn prints(&self, fill: Fill) -> bool {
        matches!(self.filled(|_| fill), Outcome::Sent(text) if !text.trim().is_empty())
    }

    /// What gets past the body's own conditions: a number, where it does.
    pub(super) fn base(&self) -> Fill {
        if self.prints(Fill::Number) || !self.prints(Fill::Word) { Fill::Number } else { Fill::Word }
    }

    /// Where in the pieces' text a filling fails, and why.
    fn failure(&self, fill: impl Fn(usize) -> Fill) -> Option<(usize, String)> {
        let error =
            self.environment.render_str(&self.text(), self.context(fill)).err().filter(|error| !is_not_sent(error))?;
        Some((error.range().map_or(usize::MAX, |range| range.start), reason(&error)))
    }

    /// Puts a number in the place of the tag around `at`; whether there is one whose value can be left aside.
    fn leave_aside(&mut self, at: usize, reason: String) -> bool {
        let mut end = 0;
        let piece = self.pieces.iter_mut().find(|piece| {
            end += piece.text.len();
            at < end
        });
        let Some(piece) = piece else { return false };
        let Some(tag) = piece.tag else { return false };
        let Some(instead) = without_value(self.template.tags[tag].kind, &piece.text) else { return false };
        if instead == piece.text {
            return false;
        }
        piece.text = instead;
        self.left_aside.push(LeftAside { tag, reason });
        true
    }
}

/// The tag with a number in the place of its value.
fn without_value(kind: TagKind, tag: &str) -> Option<String> {
    let number = format!("{OBJECT}.{UNKNOWN}");
    let dashes = |at: Option<char>| if at == Some('-') { "-" } else { "" };
    let (open, close) = (dashes(tag.chars().nth(2)), dashes(tag.chars().rev().nth(2)));
    match kind {
        TagKind::Print => Some(format!("{{{{{open} {number} {close}}}}}")),
        TagKind::Comment => None,
        TagKind::Statement => {
            let says = match word(tag) {
                word @ ("if" | "elif") => format!("{word} true"),
                "for" => format!("{} in [{number}, {number}]", tag[2 + open.len()..].split_once(" in ")?.0),
                "set" => format!("{}= {number}", tag[2 + open.len()..].split_once('=')?.0),
                _ => return None,
            };
            Some(format!("{{%{open} {} {close}%}}", says.trim()))
        }
    }
}

/// A value as the template expects it; a blank one is a list without elements.
fn of_kind(expected: &Expected, leaf: &Value, is_blank: bool) -> Value {
    match expected {
        Expected::Value => leaf.clone(),
        Expected::List(_) if is_blank => Value::from(Vec::<Value>::new()),
        // a comma between two shows only where there are two
        Expected::List(element) => {
            let element = of_kind(element, leaf, is_blank);
            Value::from(vec![element.clone(), element])
        }
        Expected::Object(members) => {
            let members = members.iter().map(|(name, member)| (name.clone(), of_kind(member, leaf, is_blank)));
            Value::from(members.collect::<BTreeMap<_, _>>())
        }
    }
}

fn reason(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_string)
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
