//! `moehog connector`: what to paste into MoEngage.

use std::{fs, path::Path};

use anyhow::Context;
use moehog_connector::{Connector, Kind, Property, Request, Sample};
use moehog_telemetry::terminal::{shown, shown_json};
use moehog_transformer::Mapping;

use crate::{check, cli};

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(command: cli::Connector) -> anyhow::Result<()> {
    let (json, body) = (command.json, command.body);
    let request = request(command)?;
    if json {
        println!("{}", shown_json(&serde_json::to_string_pretty(&request)?));
    } else if body {
        print!("{}", request.body);
    } else {
        print!("{}", page(request));
    }
    Ok(())
}

/// What to paste, as it is. A note is to be read: it names attributes of the sample.
fn page(mut request: Request) -> String {
    request.notes.iter_mut().for_each(|note| *note = shown(note).into_owned());
    request.to_string()
}

fn request(command: cli::Connector) -> anyhow::Result<Request> {
    let mut connector = Connector::new(&command.event);
    connector.id = command.id;
    connector.api_key = command.api_key;
    connector.key = command.uuid_from;
    connector.time = command.time_from;
    for property in &command.properties {
        put(&mut connector.properties, property.parse()?);
    }
    for property in &command.user_properties {
        put(&mut connector.person, property.parse()?);
    }
    if let Some(file) = &command.mapping {
        for property in of_mapping(file, &command.event)? {
            if !connector.properties.iter().any(|known| known.name == property.name) {
                connector.properties.push(property);
            }
        }
    }
    let mut left_out = Vec::new();
    if let Some(file) = &command.sample {
        let text = fs::read_to_string(file).with_context(|| format!("read the sample {}", file.display()))?;
        let sample = Sample::read(&text).with_context(|| format!("read the sample {}", file.display()))?;
        left_out = sample.propose(&mut connector);
    }
    let mut request = Request::new(connector, &command.url, &command.token_header, command.token.as_deref());
    request.notes.extend(left_out);
    request.add_traps();
    Ok(request)
}

/// What the rules for such events look at, each attribute under its own name, by which they find it.
fn of_mapping(file: &Path, event: &str) -> anyhow::Result<Vec<Property>> {
    // names are read and nothing is hashed, so any key will do
    let mapping = Mapping { hash_key: Some(String::new().into()), ..Mapping::default() };
    let rules = check::usable(file, &mapping)?;
    let attributes = rules.attributes(event);
    let of_event = attributes.event.iter().map(|name| (name, format!("EventAttribute['{name}']")));
    let of_user = attributes.user.iter().map(|name| (name, format!("UserAttribute['{name}']")));
    of_event
        .chain(of_user)
        .map(|(name, attribute)| Ok(Property::filled(name, attribute.parse()?, Kind::AsIs)))
        .collect()
}

/// Of two of one name the later counts.
fn put(properties: &mut Vec<Property>, property: Property) {
    properties.retain(|other| other.name != property.name);
    properties.push(property);
}
