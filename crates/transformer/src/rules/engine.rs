//! The template engine, for what is more than a move: expressions over the few values that they name.
//!
//! Filters are Jinja's, MoEngage's documented ones and ours. Source: MoEngage, "Jinja Templating Language" (18637864, read
//! 2026-08).

use std::{fmt, sync::LazyLock};

use jiff::tz::TimeZone;
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value,
    machinery::{ast, parse_expr},
};

use super::{
    budget::MAX_STEPS,
    dates, filters, money,
    names::{Meter, Names, Secret},
    path::{self, Read},
    scope::{Root, Scope},
    size, source,
    unusable::Unusable,
};

/// One for the process: expressions borrow it for as long as they live.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    engine.set_fuel(Some(MAX_STEPS));
    filters::add(&mut engine);
    engine
});

/// What an expression is given at first. How far one went is known where it gave a value; one that failed has cost all it was given, so
/// that most are given little, and only those that need more begin again with more.
const TANKS: [u64; 3] = [256, 2048, 16_384];

/// A compiled expression.
pub(crate) struct Engine {
    expression: minijinja::Expression<'static, 'static>,
    source: String,
    reads: Vec<Read>,
    hashes: bool,
    /// What it prints is in this zone.
    zone: Option<TimeZone>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Engine").field(&self.source).finish()
    }
}

impl Engine {
    /// Compiles an expression that was read from `source`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(crate) fn of(tree: &ast::Expr<'_>, source: &str) -> Result<Self, String> {
        size::check_engines()?;
        let guarded = if source::multiplies(tree) { source::guarded(tree) } else { Some(source.to_string()) };
        let guarded = guarded.ok_or("this cannot be multiplied: take the multiplication out")?;
        let metered =
            format!("({guarded}) | {END} if none is {BEGIN} else none", END = filters::END, BEGIN = filters::BEGIN);
        let expression = ENGINE.compile_expression_owned(metered).map_err(|error| sentence(&error))?;
        let (mut reads, mut hashes) = (Vec::new(), false);
        path::reads(tree, &mut reads);
        path::walk(tree, &mut |part| hashes |= matches!(part, ast::Expr::Filter(filter) if filter.name == "hash"));
        let zone = dates::zone_of(tree);
        Ok(Self { expression, source: source.to_string(), reads, hashes, zone })
    }

    /// Calls `visit` with each attribute that it names.
    pub(crate) fn attributes(&self, visit: &mut dyn FnMut(&Root, &[String])) {
        for read in &self.reads {
            let Some((root, names)) = read.path.attribute_named() else { continue };
            match read.members.as_slice() {
                [] => visit(root, names),
                members => {
                    members.iter().for_each(|member| visit(root, &[names, std::slice::from_ref(member)].concat()))
                }
            }
        }
    }

    /// Whether it needs the key of the filter `hash`.
    pub(crate) fn hashes(&self) -> bool {
        self.hashes
    }

    /// The zone that what it prints is in, where it says that.
    pub(crate) fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    /// The value. It may cost half of what is left to the event, so that one that costs too much leaves room for others.
    pub(crate) fn evaluate(&self, scope: &Scope<'_, '_>, secret: Option<&Secret>) -> Result<Value, Unusable> {
        let meter = Meter::default();
        let names = Names::of(&self.reads, scope, secret.filter(|_| self.hashes), &meter)?;
        let names = Value::from_object(names);
        let most = scope.budget.steps() / 2;
        for tank in TANKS.into_iter().filter(|tank| *tank < most).chain([most]) {
            meter.set(tank);
            match self.expression.eval(names.clone()) {
                Ok(value) => {
                    scope.budget.step(meter.get())?;
                    return if value.is_undefined() { Err(Unusable::Missing) } else { Ok(value) };
                }
                Err(error) => {
                    scope.budget.step(tank)?;
                    match why(&error) {
                        Unusable::Costly => {}
                        other => return Err(other),
                    }
                }
            }
        }
        Err(Unusable::Costly)
    }
}

/// Why an expression failed; what ran out of its steps may have said something else of it.
fn why(error: &Error) -> Unusable {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if found.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return Unusable::Costly;
        }
        cause = found.source();
    }
    if error.kind() == ErrorKind::UndefinedError { Unusable::Missing } else { Unusable::Failed }
}

/// Reads an expression in which nothing is wrong.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub(crate) fn parse(source: &str) -> Result<ast::Expr<'_>, String> {
    size::check_expression(source)?;
    let tree = parse_expr(source).map_err(|error| sentence(&error))?;
    check(&tree)?;
    let mut reads = Vec::new();
    path::reads(&tree, &mut reads);
    match reads.iter().find_map(path::dead_end) {
        Some(dead_end) => Err(dead_end),
        None => Ok(tree),
    }
}

/// What the engine would find wrong only when it computes: filters, tests and functions that are not there.
fn check(tree: &ast::Expr<'_>) -> Result<(), String> {
    let mut wrong = None;
    path::walk(tree, &mut |expression| {
        let found = match expression {
            ast::Expr::Filter(filter) if !filters::NAMES.contains(&filter.name) => {
                Some(format!("there is no filter `{}`{}", filter.name, filters::like(filter.name)))
            }
            ast::Expr::Filter(filter) if filter.name == "tojson" && !filter.args.is_empty() => {
                Some("`tojson` takes nothing in brackets: nobody sees how JSON is indented".to_string())
            }
            ast::Expr::Filter(filter) if filter.name == "money" => money::check(&filter.args),
            ast::Expr::Filter(filter) => dates::check(filter.name, &filter.args),
            ast::Expr::Test(test) if !filters::TESTS.contains(&test.name) => {
                Some(format!("there is no test `is {}`: there are {}", test.name, filters::TESTS.join(", ")))
            }
            ast::Expr::Call(call) => match &call.expr {
                ast::Expr::Var(name) => Some(format!("there is no function `{}`", name.id)),
                _ => Some("values have no methods: use filters".to_string()),
            },
            _ => None,
        };
        wrong = wrong.take().or(found);
    });
    wrong.map_or(Ok(()), Err)
}

fn sentence(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
