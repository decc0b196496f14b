//! A value of a mapping file: a constant, a move, a cast, or what the engine computes.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use minijinja::machinery::ast::Expr;

use super::{
    budget::MAX_OUTPUT_BYTES,
    engine::{self, Engine},
    json_text::json,
    names::Secret,
    path,
    scope::{Path, Root, Scope, text},
    unusable::Unusable,
};
use crate::{json, value::types::Type};

/// Most expressions, and words between them, of one text.
const MAX_PARTS: usize = 500;

/// One `{{ expression }}`.
#[derive(Debug)]
pub(crate) enum Expression {
    /// A constant, as JSON.
    Constant(String),
    /// What stands at a place, byte for byte.
    Move(Path),
    /// The same as another type.
    Cast(Path, Type),
    /// Anything else.
    Engine(Engine),
}

impl Expression {
    /// Compiles what stands between the braces.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let tree = engine::parse(source)?;
        if let Some(path) = path::of(&tree).filter(|path| path.is_of_one_value()) {
            return Ok(Self::Move(path));
        }
        if let Some((path, to)) = cast(&tree) {
            return Ok(Self::Cast(path, to));
        }
        match tree.as_const().map(|value| json(&value, MAX_OUTPUT_BYTES)) {
            Some(Ok(constant)) => Ok(Self::Constant(constant)),
            _ => Engine::of(&tree, source).map(Self::Engine),
        }
    }

    /// The value as JSON.
    pub(crate) fn evaluate<'a>(
        &self,
        scope: &Scope<'_, 'a>,
        secret: Option<&Secret>,
    ) -> Result<Cow<'a, str>, Unusable> {
        let value = match self {
            Self::Constant(json) => Cow::Owned(json.clone()),
            Self::Move(path) => path.find(scope)?,
            Self::Cast(path, to) => match path.look(scope)?.ok_or(Unusable::Missing)? {
                Cow::Borrowed(raw) => to.cast(raw).ok_or(Unusable::Failed)?,
                Cow::Owned(raw) => to.cast(&raw).map(|cast| Cow::Owned(cast.into_owned())).ok_or(Unusable::Failed)?,
            },
            Self::Engine(engine) => {
                let value = engine.evaluate(scope, secret)?;
                let most = scope.budget.bytes();
                let json = json(&value, most);
                scope.budget.read(json.as_ref().map_or(most, String::len))?;
                Cow::Owned(json?)
            }
        };
        scope.budget.make(value.len())?;
        Ok(value)
    }

    /// Calls `visit` with each attribute that it names.
    pub(crate) fn attributes(&self, visit: &mut dyn FnMut(&Root, &[String])) {
        match self {
            Self::Constant(_) => {}
            Self::Move(path) | Self::Cast(path, _) => {
                if let Some((root, names)) = path.attribute_named() {
                    visit(root, names);
                }
            }
            Self::Engine(engine) => engine.attributes(visit),
        }
    }

    /// Whether it needs the key of the filter `hash`.
    pub(crate) fn hashes(&self) -> bool {
        matches!(self, Self::Engine(engine) if engine.hashes())
    }

    /// The type that its values have, where that is certain before any is seen.
    pub(crate) fn promises(&self) -> Option<Type> {
        match self {
            Self::Constant(json) => Type::of(json),
            Self::Cast(_, to) => Some(*to),
            Self::Move(_) | Self::Engine(_) => None,
        }
    }
}

/// An expression without the braces that some write around it where none are needed.
pub(crate) fn bare(source: &str) -> &str {
    let source = source.trim();
    source.strip_prefix("{{").and_then(|source| source.strip_suffix("}}")).unwrap_or(source).trim()
}

/// A place and the type that it is cast to, if an expression is no more than that.
fn cast(tree: &Expr<'_>) -> Option<(Path, Type)> {
    let Expr::Filter(filter) = tree else { return None };
    let to = match filter.name {
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        _ => return None,
    };
    let path = path::of(filter.expr.as_ref()?)?;
    (filter.args.is_empty() && path.is_of_one_value()).then_some((path, to))
}

/// A value of a mapping file.
#[derive(Debug)]
pub(crate) enum Node {
    /// A single expression: its value keeps its type.
    One(Expression),
    /// Text with expressions in it, which makes a text; none where one of them has no value.
    Text(Vec<Part>),
    /// An array.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

/// A part of a text.
#[derive(Debug)]
pub(crate) enum Part {
    /// As it stands.
    Words(String),
    /// Filled in.
    Value(Expression),
}

impl Node {
    /// Compiles a text of the mapping file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(crate) fn compile(template: &str) -> Result<Self, String> {
        if template.contains("{%") || template.contains("{#") {
            return Err("statements are not read here: write {{ a if condition else b }}, or two rules".to_string());
        }
        let mut parts = split(template)?;
        match (parts.len(), parts.pop()) {
            (1, Some(Part::Value(expression))) => Ok(Self::One(expression)),
            (1, Some(Part::Words(words))) => Ok(Self::One(Expression::Constant(text(&words)))),
            (_, None) => Ok(Self::One(Expression::Constant(text("")))),
            (_, Some(last)) => {
                parts.push(last);
                Ok(Self::Text(parts))
            }
        }
    }

    /// The value as JSON. In an array or object, what is missing is left out.
    pub(crate) fn evaluate<'a>(
        &self,
        scope: &Scope<'_, 'a>,
        secret: Option<&Secret>,
    ) -> Result<Cow<'a, str>, Unusable> {
        match self {
            Self::One(expression) => expression.evaluate(scope, secret),
            Self::Text(parts) => {
                let mut whole = String::new();
                for part in parts {
                    match part {
                        Part::Words(words) => whole.push_str(words),
                        Part::Value(expression) => {
                            let value = expression.evaluate(scope, secret)?;
                            if json::is_null(&value) {
                                return Err(Unusable::Missing);
                            }
                            whole.push_str(&json::string(&value).unwrap_or(Cow::Borrowed(&value)));
                        }
                    }
                }
                Ok(Cow::Owned(text(&whole)))
            }
            Self::List(nodes) => {
                let values: Vec<_> = present(nodes.iter().map(|node| node.evaluate(scope, secret)))?;
                Ok(Cow::Owned(format!("[{}]", values.join(","))))
            }
            Self::Object(members) => {
                let members = members.iter().map(|(name, node)| {
                    node.evaluate(scope, secret).map(|value| Cow::Owned([&text(name), ":", &*value].concat()))
                });
                let members: Vec<Cow<'_, str>> = present(members)?;
                Ok(Cow::Owned(format!("{{{}}}", members.join(","))))
            }
        }
    }

    /// The zone that the time which it prints is in, where it says that.
    pub(crate) fn zone(&self) -> Option<&TimeZone> {
        match self {
            Self::One(Expression::Engine(engine)) => engine.zone(),
            _ => None,
        }
    }

    pub(crate) fn promises(&self) -> Option<Type> {
        match self {
            Self::One(expression) => expression.promises(),
            Self::Text(_) => Some(Type::Text),
            Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Its text, if it is a constant one.
    pub(crate) fn constant(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::One(Expression::Constant(json)) => json::string(json),
            _ => None,
        }
    }

    /// Calls `visit` with each expression in it.
    pub(crate) fn expressions(&self, visit: &mut dyn FnMut(&Expression)) {
        match self {
            Self::One(expression) => visit(expression),
            Self::Text(parts) => parts.iter().for_each(|part| {
                if let Part::Value(expression) = part {
                    visit(expression);
                }
            }),
            Self::List(nodes) => nodes.iter().for_each(|node| node.expressions(visit)),
            Self::Object(members) => members.iter().for_each(|(_, node)| node.expressions(visit)),
        }
    }
}

/// Leaves out what is missing, and fails where something could not be computed.
fn present<'a>(values: impl Iterator<Item = Result<Cow<'a, str>, Unusable>>) -> Result<Vec<Cow<'a, str>>, Unusable> {
    values.filter(|value| !matches!(value, Err(Unusable::Missing))).collect()
}

/// Splits a text at its `{{ … }}`; braces within quotes end nothing.
fn split(template: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut rest) = (Vec::new(), template);
    while let Some((words, after)) = rest.split_once("{{") {
        if parts.len() >= MAX_PARTS {
            return Err(format!("the text has more than {MAX_PARTS} parts: make several properties of it"));
        }
        if !words.is_empty() {
            parts.push(Part::Words(words.to_string()));
        }
        let end = end(after).ok_or("`{{` without `}}`")?;
        parts.push(Part::Value(Expression::compile(after[..end].trim())?));
        rest = &after[end + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Words(rest.to_string()));
    }
    Ok(parts)
}

fn end(expression: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, byte) in expression.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'}') if expression.as_bytes().get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
    }
    None
}
