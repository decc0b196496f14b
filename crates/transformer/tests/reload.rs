//! The mapping file is replaced while events are mapped: each event is mapped whole by one file, and a file with a mistake changes nothing.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use moehog_runtime::Cores;
use moehog_transformer::{Mapping, Transformer};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// As the kubelet writes a mounted ConfigMap: the file is a link through `..data`, which is swapped.
fn mount(directory: &Path, version: &str, text: &str) {
    fs::create_dir(directory.join(version)).unwrap();
    fs::write(directory.join(version).join("mapping.toml"), text).unwrap();
    let next = directory.join("..data_tmp");
    symlink(version, &next).unwrap();
    fs::rename(&next, directory.join("..data")).unwrap();
    if fs::symlink_metadata(directory.join("mapping.toml")).is_err() {
        symlink("..data/mapping.toml", directory.join("mapping.toml")).unwrap();
    }
}

/// Renames every event, and says so in a property.
fn named(name: &str) -> String {
    format!("[[rule]]\nevent = \"{name}\"\nproperties = {{ by = \"{name}\" }}\n")
}

/// The name, the property and the revision that the event has.
fn mapped(transformer: &Transformer) -> (String, String, String) {
    let body = r#"{"event":"a","distinct_id":"u-1","properties":{}}"#;
    let webhook = Webhook { receipt: "r".into(), source: "shop".into(), body: body.into(), ..Webhook::default() };
    let Some(transformed_webhook::Result::Mapped(mapped)) = transformer.transform(&webhook).result else { panic!() };
    let Some(Outcome::Event(event)) = mapped.events[0].outcome.clone() else { panic!() };
    let json: Value = serde_json::from_slice(&event.json).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    (text(&json["event"]), text(&json["properties"]["by"]), text(&json["properties"]["moehog"]["mapping"]))
}

async fn becomes(transformer: &Transformer, name: &str) {
    let begun = Instant::now();
    while mapped(transformer).0 != name {
        assert!(begun.elapsed() < SOON, "the mapping did not become {name}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_files_are_used_whole_and_a_mistake_leaves_the_last_good_one() {
    let directory = tempfile::tempdir().unwrap();
    mount(directory.path(), "..v0", &named("v0"));
    let config = Mapping {
        file: Some(directory.path().join("mapping.toml")),
        reread_every: Duration::from_millis(2),
        ..Mapping::default()
    };
    let transformer = moehog_transformer::open(&config, Cores::all()).unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let load = thread::spawn({
        let (transformer, ends) = (transformer.clone(), ends.clone());
        move || {
            let mut seen = BTreeSet::new();
            while !ends.load(Ordering::Relaxed) {
                let (name, by, revision) = mapped(&transformer);
                assert_eq!(name, by, "half of two mappings");
                seen.insert((name, revision));
            }
            seen
        }
    });
    for version in 1..=20 {
        mount(directory.path(), &format!("..v{version}"), &named(&format!("v{version}")));
        becomes(&transformer, &format!("v{version}")).await;
    }
    let deep = format!("[[rule]]\nwhen = \"{}uid\"\n", "not ".repeat(20_000));
    for (name, bad) in [("..bad", "[[rule]]\nevnt = \"x\"\n"), ("..deep", &deep)] {
        mount(directory.path(), name, bad);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(mapped(&transformer).0, "v20", "{name}");
    }
    fs::remove_file(directory.path().join("mapping.toml")).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(mapped(&transformer).0, "v20");
    fs::write(directory.path().join("mapping.toml"), named("last")).unwrap();
    becomes(&transformer, "last").await;
    ends.store(true, Ordering::Relaxed);
    let seen = load.join().unwrap();
    let revisions: BTreeSet<_> = seen.iter().map(|(_, revision)| revision).collect();
    assert_eq!(revisions.len(), seen.len(), "one revision a file: {seen:?}");
    assert!(seen.len() > 10, "{seen:?}");
}

#[tokio::test]
async fn a_mistake_at_the_start_is_an_error_that_names_each_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mapping.toml");
    let config = Mapping { file: Some(file.clone()), ..Mapping::default() };
    assert!(format!("{:#}", moehog_transformer::open(&config, Cores::all()).unwrap_err()).contains("mapping.toml"));
    fs::write(&file, "heal = 1\n[[rule]]\nevnt = \"x\"\n").unwrap();
    let said = format!("{:#}", moehog_transformer::open(&config, Cores::all()).unwrap_err());
    assert!(
        said.contains("line 1: heal: must be a text") && said.contains("line 3: rule 1, evnt: unknown key"),
        "{said}"
    );
}

#[tokio::test]
async fn looks_name_what_is_wrong_with_the_file_as_it_is_and_end_with_its_rules_and_never_with_others() {
    let directory = tempfile::tempdir().unwrap();
    let (file, key) = (directory.path().join("mapping.toml"), directory.path().join("hash-key"));
    let config: moehog_transformer::Config = moehog_runtime::load(
        moehog_transformer::DEFAULTS,
        None,
        [
            ("FILE", format!("{file:?}")),
            ("HASH_KEY", format!("{{ file = {key:?} }}")),
            ("REREAD_EVERY", "2ms".to_string()),
        ]
        .map(|(name, value)| (format!("MOEHOG__MAPPING__{name}"), value)),
    )
    .unwrap();
    let mut look = moehog_transformer::looks(&config.mapping, Cores::all());
    let mut fault = || look().unwrap_err();
    assert!(fault().starts_with("mapping.hash_key cannot be read from "), "nothing is hashed with nothing");
    fs::write(&key, "s3cret").unwrap();
    assert!(fault().contains("is too short, it needs 8 characters"));
    fs::write(&key, "a longer secret").unwrap();
    assert!(fault().contains("mapping.toml cannot be read: No such file"));
    fs::write(&file, "heal = 1\n").unwrap();
    for _ in 0..2 {
        assert!(fault().contains("line 1: heal: must be a text"));
    }
    fs::write(&file, "[[rule]\n").unwrap();
    assert!(fault().contains("line 1"));
    fs::write(&file, named("right")).unwrap();
    let transformer = look().unwrap();
    assert_eq!(mapped(&transformer).0, "right");
    // and it is followed from then on
    fs::write(&file, named("next")).unwrap();
    becomes(&transformer, "next").await;
}
