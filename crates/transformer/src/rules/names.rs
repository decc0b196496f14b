//! The values that an expression is computed from.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use minijinja::{
    Value,
    value::{Enumerator, Object},
};

use super::{
    path::Read,
    scope::{HEADER, Root, Scope},
    unusable::Unusable,
};
use crate::{json, value::time::Order};

/// The name by which the filter `hash` finds its key; nothing else can say it.
const SECRET: &str = "\0secret";

/// The name by which the engine's first and last step find the meter; nothing else can say it.
const METER: &str = "\0meter";

/// The name by which the filter `today` finds when the webhook was received; nothing else can say it.
const RECEIVED: &str = "\0received";

/// The name by which the filter `days` finds that months stand before days; nothing else can say it.
const MONTH_FIRST: &str = "\0month_first";

/// How much more the memory of an array or an object is than its text.
const GROWTH: usize = 8;

/// A map with few members.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<(String, Value)>);

impl Names {
    /// What `reads` names of an event; what it does not have is left out.
    ///
    /// # Errors
    ///
    /// The budget does not bear it.
    pub(crate) fn of(
        reads: &[Read],
        scope: &Scope<'_, '_>,
        secret: Option<&Secret>,
        meter: &Meter,
    ) -> Result<Self, Unusable> {
        let mut names = Self(vec![
            (METER.to_string(), Value::from_object(meter.clone())),
            (RECEIVED.to_string(), Value::from(scope.webhook.received_at_ms)),
        ]);
        if scope.order == Some(Order::MonthFirst) {
            names.0.push((MONTH_FIRST.to_string(), Value::from(true)));
        }
        if let Some(secret) = secret {
            names.0.push((SECRET.to_string(), Value::from_object(secret.clone())));
        }
        let mut below: Vec<(&str, Self)> = Vec::new();
        for read in reads {
            let Some(key) = read.path.keys.first() else {
                names.0.extend(whole(read, scope)?.map(|value| (read.name.clone(), value)));
                continue;
            };
            let attributes = match below.iter_mut().position(|(name, _)| *name == read.name) {
                Some(at) => &mut below[at].1,
                None => {
                    below.push((&read.name, Self::default()));
                    let last = below.len() - 1;
                    &mut below[last].1
                }
            };
            attributes.0.extend(named(read, scope)?.map(|value| (key.clone(), value)));
        }
        // a whole root has all that its attributes have
        for (name, attributes) in below {
            if !names.0.iter().any(|(known, _)| known == name) {
                names.0.push((name.to_string(), Value::from_object(attributes)));
            }
        }
        Ok(names)
    }
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }
}

fn named(read: &Read, scope: &Scope<'_, '_>) -> Result<Option<Value>, Unusable> {
    let Some(raw) = read.path.look(scope)? else { return Ok(None) };
    let growth = if raw.starts_with(['[', '{']) { GROWTH } else { 0 };
    scope.budget.read(raw.len() * (read.times + growth))?;
    let is_headers = read.path.root == Root::Webhook && read.path.keys == [HEADER];
    Ok(Some(if is_headers { Value::from_object(Headers(value(&raw))) } else { value(&raw) }))
}

/// Headers, whose names are the same in any case.
#[derive(Debug)]
struct Headers(Value);

impl Object for Headers {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = self.0.get_attr(&key.as_str()?.to_ascii_lowercase()).ok()?;
        (!found.is_undefined()).then_some(found)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.0.try_iter().map_or(Enumerator::Empty, |names| Enumerator::Values(names.collect()))
    }
}

fn whole(read: &Read, scope: &Scope<'_, '_>) -> Result<Option<Value>, Unusable> {
    let Some(object) = scope.object(&read.path.root) else { return named(read, scope) };
    let bytes: usize = object.pairs.iter().map(|pair| pair.name.len() + pair.value.len()).sum();
    scope.budget.read((bytes + object.pairs.len()) * (read.times + GROWTH))?;
    let members = object.pairs.iter().map(|pair| (pair.name.to_string(), value(pair.value))).collect();
    Ok(Some(Value::from_object(Names(members))))
}

/// A JSON value for the engine. Whole numbers keep up to 38 digits.
pub(crate) fn value(raw: &str) -> Value {
    if let Some(text) = json::string(raw) {
        return Value::from(text.as_ref());
    }
    if json::is_number(raw) {
        if let Ok(whole) = raw.parse::<i64>() {
            return Value::from(whole);
        }
        if let Ok(whole) = raw.parse::<i128>() {
            return Value::from(whole);
        }
    }
    serde_json::from_str(raw).unwrap_or(Value::UNDEFINED)
}

/// How far an expression may go, and how far it went, in steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Sets what it may take, or has taken.
    pub(crate) fn set(&self, steps: u64) {
        self.0.store(steps, Ordering::Relaxed);
    }

    /// What was set last.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The one that an expression is computed with.
    pub(crate) fn of(state: &minijinja::State<'_, '_>) -> Option<Self> {
        state.lookup(METER)?.downcast_object_ref::<Self>().cloned()
    }
}

impl Object for Meter {}

/// The key of the filter `hash`.
#[derive(Clone)]
pub(crate) struct Secret(Arc<[u8]>);

impl Secret {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(key.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The one that an expression is computed with.
    pub(crate) fn of(state: &minijinja::State<'_, '_>) -> Option<Self> {
        state.lookup(SECRET)?.downcast_object_ref::<Self>().cloned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Object for Secret {}

/// When and how the webhook was received.
pub(crate) struct Received;

impl Received {
    /// In milliseconds since the epoch.
    pub(crate) fn of(state: &minijinja::State<'_, '_>) -> Option<i64> {
        state.lookup(RECEIVED)?.as_i64()
    }

    /// Whether months stand before days in dates of its source.
    pub(crate) fn is_month_first(state: &minijinja::State<'_, '_>) -> bool {
        state.lookup(MONTH_FIRST).is_some()
    }
}
