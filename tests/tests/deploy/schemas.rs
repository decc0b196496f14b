//! Every object against the closed schema of its kind: Kubernetes' own at two minor versions, and the published
//! definitions of custom resources.
//!
//! An object without a schema is a fault, so no kind slips through.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, ensure};
use jsonschema::Validator;
use moehog_tests::{Tools, root};
use serde_json::{Value, json};

use super::{
    custom_resources,
    world::{chart, renders},
};

/// Schemas of one origin.
#[derive(Debug)]
pub(crate) struct Schemas {
    /// Of every kind; for Kubernetes one document that holds them all.
    source: Source,
    /// Made when first asked for.
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
}

#[derive(Debug)]
enum Source {
    Kubernetes { definitions: Value },
    Custom { by_kind: BTreeMap<String, Value> },
}

impl Schemas {
    /// Kubernetes' own at its lowest and its newest minor version.
    pub(crate) fn kubernetes() -> anyhow::Result<&'static [(&'static str, Self)]> {
        static SCHEMAS: OnceLock<Result<Vec<(&'static str, Schemas)>, String>> = OnceLock::new();
        let read = |(minor, path): (&'static str, std::path::PathBuf)| {
            let mut definitions: Value = serde_json::from_slice(&fs::read(&path)?)?;
            definitions.as_object_mut().context("definitions")?.remove("$id");
            Ok((minor, Self::new(Source::Kubernetes { definitions })))
        };
        let all = || Tools::fetch()?.kubernetes_schemas().into_iter().map(read).collect::<anyhow::Result<_>>();
        let schemas = SCHEMAS.get_or_init(|| all().map_err(|error| format!("{error:#}")));
        schemas.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Those of custom resources.
    pub(crate) fn custom() -> anyhow::Result<&'static Self> {
        static SCHEMAS: OnceLock<Result<Schemas, String>> = OnceLock::new();
        let schemas = SCHEMAS.get_or_init(|| {
            let by_kind = custom(&root().join("tests/custom-resources")).map_err(|error| format!("{error:#}"))?;
            Ok(Self::new(Source::Custom { by_kind }))
        });
        schemas.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn new(source: Source) -> Self {
        Self { source, validators: Mutex::default() }
    }

    /// What is wrong with an object; none when it is of a kind that this origin has no schema of.
    pub(crate) fn violations(&self, object: &Value) -> anyhow::Result<Option<Vec<String>>> {
        let (version, kind) = (object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""));
        let Some(validator) = self.validator(version, kind)? else { return Ok(None) };
        let told = |object: &Value| {
            validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>()
        };
        let Source::Custom { by_kind } = &self.source else { return Ok(Some(told(object))) };
        let schema = by_kind.get(&name(version, kind)).context("a schema")?;
        let object = custom_resources::with_defaults(schema, object);
        let found = told(&object);
        // as an API server, which asks the rules only about an object of the right form
        if found.is_empty() { custom_resources::violations(schema, &object, "").map(Some) } else { Ok(Some(found)) }
    }

    fn validator(&self, version: &str, kind: &str) -> anyhow::Result<Option<Arc<Validator>>> {
        let name = name(version, kind);
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = validators.get(&name) {
            return Ok(Some(validator.clone()));
        }
        let Some(schema) = self.schema(version, kind) else { return Ok(None) };
        let validator = jsonschema::validator_for(&schema).with_context(|| format!("schema of {name}"))?;
        Ok(Some(validators.entry(name).or_insert(validator.into()).clone()))
    }

    /// The documents that the schemas stand in.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Value> {
        let (one, many) = match &self.source {
            Source::Kubernetes { definitions } => (Some(definitions), None),
            Source::Custom { by_kind } => (None, Some(by_kind.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn schema(&self, version: &str, kind: &str) -> Option<Value> {
        match &self.source {
            Source::Custom { by_kind } => by_kind.get(&name(version, kind)).cloned(),
            Source::Kubernetes { definitions } => {
                let (group, version) = version.split_once('/').unwrap_or(("", version));
                let this = json!({"group": group, "version": version, "kind": kind});
                let is_this = |definition: &Value| {
                    definition["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.contains(&this))
                };
                let name = definitions["$defs"].as_object()?.iter().find(|(_, definition)| is_this(definition))?.0;
                let mut schema = definitions.clone();
                schema["$ref"] = format!("#/$defs/{name}").into();
                Some(schema)
            }
        }
    }
}

/// What a schema is found by, and its title.
fn name(version: &str, kind: &str) -> String {
    format!("{version} {kind}")
}

fn custom(directory: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut by_kind = BTreeMap::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let schema: Value = serde_json::from_slice(&fs::read(&path)?)?;
            let name = schema["title"].as_str().context("a title")?.to_string();
            by_kind.insert(name, schema);
        }
    }
    Ok(by_kind)
}

#[test]
fn every_object_keeps_its_closed_schema_at_the_lowest_and_the_newest_minor() -> anyhow::Result<()> {
    let test = "every object keeps its closed schema at the lowest and the newest minor";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let mut faults = Vec::new();
    for render in renders(&chart)? {
        for object in &render.objects {
            let name = format!("{} {} {}", render.name, object["kind"], object["metadata"]["name"]);
            if let Some(violations) = Schemas::custom()?.violations(object)? {
                faults.extend(violations.into_iter().map(|violation| format!("{name}: {violation}")));
                continue;
            }
            for (minor, schemas) in Schemas::kubernetes()? {
                let violations = schemas.violations(object)?.unwrap_or_else(|| vec!["no schema".to_string()]);
                faults.extend(violations.into_iter().map(|violation| format!("{name} at {minor}: {violation}")));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[test]
fn every_schema_of_a_custom_resource_is_used() -> anyhow::Result<()> {
    let Some(chart) = chart("every schema of a custom resource is used")? else { return Ok(()) };
    let renders = renders(&chart)?;
    for name in Schemas::custom()?.sources().filter_map(|schema| schema["title"].as_str()) {
        let mut objects = renders.iter().flat_map(|render| &render.objects);
        let used = objects.any(|object| {
            name.split_once(' ')
                .is_some_and(|(version, kind)| object["apiVersion"] == version && object["kind"] == kind)
        });
        ensure!(used, "nothing renders a {name}");
    }
    Ok(())
}
