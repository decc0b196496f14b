//! Whether the checkers see anything: renders broken in one place each, and the one who must say so.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    faults::{Check, faults},
    schemas::Schemas,
    types::round_trip,
    world::{chart, renders},
};

const MUTATIONS: &str = include_str!("mutations.txt");

/// One edit of a render, a line of `mutations.txt`.
#[derive(Debug)]
struct Mutation {
    render: &'static str,
    object: &'static str,
    at: &'static str,
    becomes: Becomes,
    caught_by: Caught,
}

/// What an edit makes of what stands there.
#[derive(Debug, Clone)]
enum Becomes {
    Nothing,
    Another(Value),
    /// A text in which a part is another.
    Replaced(String, String),
}

/// Who sees a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caught {
    By(Check),
    BySchemas,
    ByCustomSchema,
    ByTypes,
}

fn mutations() -> anyhow::Result<Vec<Mutation>> {
    let lines = MUTATIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Mutation::parse(line).with_context(|| format!("read the mutation `{line}`"))).collect()
}

impl Mutation {
    fn parse(line: &'static str) -> anyhow::Result<Self> {
        let parts: Vec<_> = line.split('|').map(str::trim).collect();
        let [render, object, at, becomes, caught_by] = parts[..] else { anyhow::bail!("it has {} parts", parts.len()) };
        let caught_by = match caught_by {
            "schemas" => Caught::BySchemas,
            "custom schema" => Caught::ByCustomSchema,
            "types" => Caught::ByTypes,
            name => {
                Caught::By(*Check::ALL.iter().find(|check| format!("{check:?}") == name).context("who catches it")?)
            }
        };
        let becomes = match becomes.split_once(" -> ") {
            Some((part, other)) => Becomes::Replaced(serde_json::from_str(part)?, serde_json::from_str(other)?),
            None if becomes.is_empty() => Becomes::Nothing,
            None => Becomes::Another(serde_json::from_str(becomes)?),
        };
        Ok(Self { render, object, at, becomes, caught_by })
    }

    /// Where the object to break is.
    fn find(&self, objects: &[Value]) -> anyhow::Result<usize> {
        let (kind, name) = self.object.split_once('/').context("kind/name")?;
        let found = objects.iter().position(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.with_context(|| format!("{} is not there", self.object))
    }

    /// The objects with the edit made.
    fn apply(&self, objects: &[Value]) -> anyhow::Result<Vec<Value>> {
        let found = self.find(objects)?;
        let mut objects = objects.to_vec();
        match (self.at.rsplit_once('/'), self.becomes.clone()) {
            (None, Becomes::Another(another)) => objects.push(another),
            (None, Becomes::Nothing) => drop(objects.remove(found)),
            (None, Becomes::Replaced(..)) => anyhow::bail!("an object is no text"),
            (Some((parent, key)), becomes) => {
                let parent = reach(&mut objects[found], parent).with_context(|| format!("there is no {parent}"))?;
                edit(parent, key, becomes).with_context(|| format!("there is no {}", self.at))?;
            }
        }
        Ok(objects)
    }

    /// Whether it is seen by the one who must; `broken` is the object in question.
    fn is_caught(&self, objects: &[Value], broken: &Value) -> anyhow::Result<bool> {
        Ok(match self.caught_by {
            Caught::By(check) => faults(objects).iter().any(|fault| fault.check == check),
            Caught::ByCustomSchema => Schemas::custom()?.violations(broken)?.is_some_and(|found| !found.is_empty()),
            Caught::ByTypes => round_trip(broken).is_err(),
            Caught::BySchemas => {
                let mut caught = true;
                for (_, schemas) in Schemas::kubernetes()? {
                    // no schema at all is a fault too
                    caught &= schemas.violations(broken)?.is_none_or(|found| !found.is_empty());
                }
                caught
            }
        })
    }
}

/// What stands at a pointer, in which an item of a list may be named too.
fn reach<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    pointer.split('/').skip(1).try_fold(value, |value, key| match value {
        Value::Object(object) => object.get_mut(&key.replace("~1", "/")),
        Value::Array(items) => find_item(items, key).and_then(|at| items.get_mut(at)),
        _ => None,
    })
}

/// Where an item of a list is: by its number, its name or the alert that it is.
fn find_item(items: &[Value], key: &str) -> Option<usize> {
    let named = |item: &Value| item["name"] == key || item["alert"] == key;
    key.parse().ok().or_else(|| items.iter().position(named)).filter(|at| *at < items.len())
}

/// Sets or takes out what stands at a key; none when there is nothing to take out.
fn edit(parent: &mut Value, key: &str, becomes: Becomes) -> Option<()> {
    match (parent, becomes) {
        (parent, Becomes::Replaced(part, other)) => {
            let there = reach(parent, &format!("/{key}"))?;
            let text = there.as_str().filter(|text| text.contains(&part))?;
            *there = text.replace(&part, &other).into();
        }
        (Value::Object(object), Becomes::Another(value)) => drop(object.insert(key.replace("~1", "/"), value)),
        (Value::Object(object), Becomes::Nothing) => drop(object.remove(&key.replace("~1", "/"))?),
        (Value::Array(items), Becomes::Another(value)) if key == "-" => items.push(value),
        (Value::Array(items), becomes) => {
            let at = find_item(items, key)?;
            drop(items.remove(at));
            if let Becomes::Another(value) = becomes {
                items.insert(at, value);
            }
        }
        _ => return None,
    }
    Some(())
}

#[test]
fn every_mutation_is_caught_by_the_one_who_must() -> anyhow::Result<()> {
    let Some(chart) = chart("every mutation is caught by the one who must")? else { return Ok(()) };
    let renders = renders(&chart)?;
    let (mut missed, mutations) = (Vec::new(), mutations()?);
    for mutation in &mutations {
        let render = renders.iter().find(|render| render.name == mutation.render).context(mutation.render)?;
        let before = &render.objects;
        let found = mutation.find(before).with_context(|| format!("{mutation:?}"))?;
        let after = mutation.apply(before).with_context(|| format!("{mutation:?}"))?;
        ensure!(*before != after, "it changes nothing: {mutation:?}");
        ensure!(!mutation.is_caught(before, &before[found])?, "it is seen without the edit: {mutation:?}");
        if !mutation.is_caught(&after, after.get(found).unwrap_or(&Value::Null))? {
            let others: Vec<_> = faults(&after).iter().map(ToString::to_string).collect();
            missed.push(format!("{mutation:?}\n    others say: {others:?}"));
        }
    }
    ensure!(missed.is_empty(), "{} of {} are not caught:\n{}", missed.len(), mutations.len(), missed.join("\n"));
    Ok(())
}

#[test]
fn every_assertion_has_a_mutation() -> anyhow::Result<()> {
    let mutations = mutations()?;
    let caught = |by: Caught| mutations.iter().any(|mutation| mutation.caught_by == by);
    let every = Check::ALL.iter().map(|check| Caught::By(*check));
    let every = every.chain([Caught::BySchemas, Caught::ByCustomSchema, Caught::ByTypes]);
    let unproven: Vec<_> = every.filter(|by| !caught(*by)).collect();
    ensure!(unproven.is_empty(), "no mutation shows that these see anything: {unproven:?}");
    Ok(())
}
