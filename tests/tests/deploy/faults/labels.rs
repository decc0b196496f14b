//! Names, labels and the namespace.

use std::collections::BTreeSet;

use super::{
    Check, Faults,
    manifest::{Manifest, entries, keyed, labels, text, title},
};

const RECOMMENDED: [&str; 6] = ["name", "instance", "component", "version", "part-of", "managed-by"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    let mut titles = BTreeSet::new();
    let namespaces: BTreeSet<_> =
        manifest.objects.iter().map(|object| text(&object["metadata"]["namespace"])).collect();
    for object in manifest.objects {
        let (name, title) = (text(&object["metadata"]["name"]), title(object));
        let unique = titles.insert(title.clone());
        faults.unless(unique, Check::NamesAreValidAndUnique, &title, "stands there twice");
        // a StatefulSet's pods get `-11` behind it, and a label holds the name
        let longest = if object["kind"] == "StatefulSet" { 52 } else { 63 };
        // API servers before 1.34 take no digit at the beginning of a Service's name
        let first = object["kind"] != "Service" || name.starts_with(|c: char| c.is_ascii_lowercase());
        let valid = is_dns_label(name) && name.len() <= longest && first;
        faults.unless(valid, Check::NamesAreValidAndUnique, &title, "is no valid name");
        let namespace = text(&object["metadata"]["namespace"]);
        let well = namespaces.len() == 1 && is_dns_label(namespace);
        faults.unless(well, Check::NamespaceIsOne, &title, format!("is in `{namespace}` of {namespaces:?}"));
        for part in RECOMMENDED {
            let there = object["metadata"]["labels"].get(format!("app.kubernetes.io/{part}")).is_some();
            faults.unless(there, Check::LabelsAreValid, &title, format!("has no label {part}"));
        }
        let mut values = Vec::new();
        keyed(object, &mut values);
        let sets = values.into_iter().filter(|(key, _)| matches!(*key, "labels" | "matchLabels" | "nodeSelector"));
        for (name, value) in sets.flat_map(|(_, set)| labels(set)) {
            let valid = is_label_key(&name) && value.as_str().is_some_and(is_label_value);
            faults.unless(valid, Check::LabelsAreValid, &title, format!("{name}: {value} is no label"));
        }
        for (name, value) in entries(&object["metadata"]["annotations"]) {
            let valid = is_label_key(name) && value.is_string();
            faults.unless(valid, Check::LabelsAreValid, &title, format!("{name}: {value} is no annotation"));
        }
    }
}

/// As in RFC 1123, up to 63 characters.
pub(super) fn is_dns_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Labels with dots between, up to 253 characters.
pub(super) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("prefix", key));
    prefix.split('.').all(is_dns_label) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63 && value.chars().all(inner) && edge(value.chars().next()) && edge(value.chars().next_back())
}
