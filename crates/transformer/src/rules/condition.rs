//! When a rule applies.

use minijinja::machinery::ast::{BinOpKind, CompareOpKind, Expr, UnaryOpKind};

use super::{
    engine::{self, Engine},
    expression,
    names::Secret,
    path,
    scope::{Path, Root, Scope},
    size::Effort,
    source,
    unusable::Unusable,
};
use crate::{json, value::types::Type};

/// A condition. What most rules ask is asked without the engine.
#[derive(Debug)]
pub(crate) enum Condition {
    /// A place holds one of these texts.
    Is(Path, Vec<String>),
    /// A place holds a number, or a text that is one, on this side of another. The engine would compare a text and a number by their kinds.
    Compared(Path, Side, f64),
    /// A place holds something.
    Defined(Path),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// Anything else.
    Engine(Engine),
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(crate) fn compile(condition: &str) -> Result<Self, String> {
        let bare = expression::bare(condition);
        let tree = engine::parse(bare)?;
        match tree.as_const() {
            Some(value) if value.is_true() => Err("the condition is always true: leave it out".to_string()),
            Some(_) => Err("the condition is never true".to_string()),
            None => match apart(&tree) {
                Some(condition) => Ok(condition),
                None => Engine::of(&tree, bare).map(Self::Engine),
            },
        }
    }

    /// Whether the event is one of these.
    ///
    /// # Errors
    ///
    /// The engine could not tell, or not at this price.
    pub(crate) fn holds(&self, scope: &Scope<'_, '_>, secret: Option<&Secret>) -> Result<bool, Unusable> {
        match self {
            // asked of most events by most rules
            Self::Is(Path { root: Root::Name, .. }, texts) => {
                Ok(scope.name.is_some_and(|name| texts.iter().any(|text| text == name)))
            }
            Self::Is(path, texts) => {
                let found = path.look(scope)?;
                let found = found.as_deref().and_then(json::string);
                Ok(found.is_some_and(|found| texts.iter().any(|text| *text == found)))
            }
            Self::Compared(path, side, bound) => {
                let found = path.look(scope)?;
                let number = found.as_deref().and_then(|raw| Type::Number.cast(raw)?.parse::<f64>().ok());
                Ok(number.is_some_and(|number| side.has(number, *bound)))
            }
            Self::Defined(path) => match path.find(scope) {
                Ok(_) => Ok(true),
                Err(Unusable::Missing) => Ok(false),
                Err(other) => Err(other),
            },
            Self::Not(condition) => condition.holds(scope, secret).map(|holds| !holds),
            Self::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(scope, secret)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(conditions) => {
                for condition in conditions {
                    if condition.holds(scope, secret)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Engine(engine) => match engine.evaluate(scope, secret) {
                Ok(value) => Ok(value.is_true()),
                Err(Unusable::Missing) => Ok(false),
                Err(other) => Err(other),
            },
        }
    }

    /// Whether an event of this name may meet it.
    pub(crate) fn allows(&self, event: &str) -> bool {
        match self {
            Self::Is(Path { root: Root::Name, .. }, texts) => texts.iter().any(|text| text == event),
            Self::All(conditions) => conditions.iter().all(|condition| condition.allows(event)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.allows(event)),
            Self::Is(..) | Self::Compared(..) | Self::Defined(_) | Self::Not(_) | Self::Engine(_) => true,
        }
    }

    /// Calls `visit` with each attribute that it names.
    pub(crate) fn attributes(&self, visit: &mut dyn FnMut(&Root, &[String])) {
        match self {
            Self::Is(path, _) | Self::Compared(path, ..) | Self::Defined(path) => {
                if let Some((root, names)) = path.attribute_named() {
                    visit(root, names);
                }
            }
            Self::Not(condition) => condition.attributes(visit),
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.iter().for_each(|condition| condition.attributes(visit));
            }
            Self::Engine(engine) => engine.attributes(visit),
        }
    }

    /// Whether it needs the key of the filter `hash`.
    pub(crate) fn hashes(&self) -> bool {
        match self {
            Self::Is(..) | Self::Compared(..) | Self::Defined(_) => false,
            Self::Not(condition) => condition.hashes(),
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().any(Self::hashes),
            Self::Engine(engine) => engine.hashes(),
        }
    }

    /// Whether no event can meet it: a place would have to hold two texts at once.
    pub(crate) fn is_impossible(&self, effort: &Effort) -> bool {
        match self {
            Self::Is(_, texts) => texts.is_empty(),
            Self::All(conditions) => {
                conditions.iter().any(|condition| condition.is_impossible(effort))
                    || conditions.iter().enumerate().any(|(at, one)| {
                        conditions[at + 1..].iter().any(|other| match (one, other) {
                            (Self::Is(one, texts), Self::Is(other, others)) => {
                                one == other
                                    && !texts.iter().any(|text| effort.is_spent(others.len()) || others.contains(text))
                            }
                            _ => false,
                        })
                    })
            }
            Self::Any(conditions) => conditions.iter().all(|condition| condition.is_impossible(effort)),
            Self::Compared(..) | Self::Defined(_) | Self::Not(_) | Self::Engine(_) => false,
        }
    }

    /// Whether all that meets `other` certainly meets this one.
    pub(crate) fn covers(&self, other: &Self, effort: &Effort) -> bool {
        if effort.is_spent(1) {
            return false;
        }
        match (self, other) {
            (Self::Is(path, texts), Self::Is(same, others)) => {
                path == same && others.iter().all(|text| !effort.is_spent(texts.len()) && texts.contains(text))
            }
            (Self::Defined(path), Self::Is(same, _) | Self::Defined(same)) => path == same,
            (Self::Any(all), other) if all.iter().any(|one| one.covers(other, effort)) => true,
            (one, Self::Any(all)) => all.iter().all(|other| one.covers(other, effort)),
            (Self::All(all), other) => all.iter().all(|one| one.covers(other, effort)),
            (one, Self::All(all)) => all.iter().any(|other| one.covers(other, effort)),
            (Self::Not(one), Self::Not(other)) => other.covers(one, effort),
            _ => false,
        }
    }
}

/// Takes an expression apart at `and`, `or` and `not`, so that a part that names something missing fails by itself.
fn apart(tree: &Expr<'_>) -> Option<Condition> {
    match tree {
        Expr::UnaryOp(operation) if matches!(operation.op, UnaryOpKind::Not) => {
            Some(Condition::Not(Box::new(apart(&operation.expr)?)))
        }
        Expr::BinOp(operation) if matches!(operation.op, BinOpKind::ScAnd) => {
            let mut all = Vec::new();
            for one in [&operation.left, &operation.right] {
                match apart(one)? {
                    Condition::All(several) => all.extend(several),
                    one => all.push(one),
                }
            }
            Some(Condition::All(all))
        }
        Expr::BinOp(operation) if matches!(operation.op, BinOpKind::ScOr) => {
            let mut any = Vec::new();
            for one in [&operation.left, &operation.right] {
                match apart(one)? {
                    Condition::Any(several) => any.extend(several),
                    one => any.push(one),
                }
            }
            Some(Condition::Any(any))
        }
        _ => match native(tree) {
            Some(condition) => Some(condition),
            None => Engine::of(tree, &source::of(tree)?).ok().map(Condition::Engine),
        },
    }
}

/// What needs no engine.
fn native(tree: &Expr<'_>) -> Option<Condition> {
    let (left, op, right) = match tree {
        Expr::BinOp(operation) => {
            let op = match operation.op {
                BinOpKind::Eq => CompareOpKind::Eq,
                BinOpKind::Ne => CompareOpKind::Ne,
                BinOpKind::In => CompareOpKind::In,
                BinOpKind::Lt => CompareOpKind::Lt,
                BinOpKind::Lte => CompareOpKind::Lte,
                BinOpKind::Gt => CompareOpKind::Gt,
                BinOpKind::Gte => CompareOpKind::Gte,
                _ => return None,
            };
            (&operation.left, op, &operation.right)
        }
        Expr::Compare(compare) => match &compare.ops[..] {
            [operation] => (&compare.expr, operation.op, &operation.expr),
            _ => return None,
        },
        Expr::Test(test) if test.name == "defined" && test.args.is_empty() => {
            return place(&test.expr).map(Condition::Defined);
        }
        _ => return None,
    };
    let not = |condition| Condition::Not(Box::new(condition));
    match op {
        CompareOpKind::Eq => equal(left, right),
        CompareOpKind::Ne => equal(left, right).map(not),
        CompareOpKind::In => within(left, right),
        CompareOpKind::NotIn => within(left, right).map(not),
        CompareOpKind::Lt => compared(left, Side::Below, right),
        CompareOpKind::Lte => compared(left, Side::UpTo, right),
        CompareOpKind::Gt => compared(left, Side::Above, right),
        CompareOpKind::Gte => compared(left, Side::From, right),
    }
}

/// On which side of a bound a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Below,
    UpTo,
    Above,
    From,
}

impl Side {
    fn has(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Below => number < bound,
            Self::UpTo => number <= bound,
            Self::Above => number > bound,
            Self::From => number >= bound,
        }
    }
}

fn compared(left: &Expr<'_>, side: Side, right: &Expr<'_>) -> Option<Condition> {
    let path = match left {
        Expr::Filter(filter) if filter.name == "number" && filter.args.is_empty() => place(filter.expr.as_ref()?)?,
        _ => place(left)?,
    };
    let bound = right.as_const().filter(minijinja::Value::is_number)?;
    Some(Condition::Compared(path, side, f64::try_from(bound).ok()?))
}

fn equal(left: &Expr<'_>, right: &Expr<'_>) -> Option<Condition> {
    let (path, constant) = match (place(left), place(right)) {
        (Some(path), None) => (path, right),
        (None, Some(path)) => (path, left),
        _ => return None,
    };
    let text = constant.as_const()?.as_str()?.to_string();
    Some(Condition::Is(path, vec![text]))
}

fn within(left: &Expr<'_>, right: &Expr<'_>) -> Option<Condition> {
    let path = place(left)?;
    let texts = right.as_const()?;
    if texts.as_str().is_some() {
        return None; // a part of a text, not one of several
    }
    let texts = texts.try_iter().ok()?.map(|text| text.as_str().map(str::to_string)).collect::<Option<Vec<_>>>()?;
    Some(Condition::Is(path, texts))
}

fn place(tree: &Expr<'_>) -> Option<Path> {
    path::of(tree).filter(Path::is_of_one_value)
}
