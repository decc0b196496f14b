//! What is wrong between the parts of a configuration, and what a person meant otherwise.

use moehog_proto::{Destination, project_key_fault};
use moehog_runtime::{Mistake, Secret, Written, is_name, meant, ways_to_set};

/// A configuration that can be read, beside what was written.
pub(super) struct Whole<'a> {
    pub(super) written: &'a Written,
    pub(super) gateway: &'a moehog_gateway::Config,
    pub(super) delivery: Option<&'a moehog_delivery::Config>,
    /// What could not be read: nothing is said twice of it.
    pub(super) unread: &'a [Mistake],
    /// Whether the flags' own variables give the destination `default` a key, and the source `default` a token.
    pub(super) has_key: bool,
    pub(super) has_token: bool,
}

impl Whole<'_> {
    /// Each thing that cannot be meant.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mut found = self.unknown_destinations();
        found.extend(self.closed_sources());
        found.extend(self.wrong_keys());
        found.extend(self.shared_addresses());
        let log = "telemetry.log";
        found.extend(self.gateway.telemetry.log_fault().map(|fault| Mistake::new(log, format!("{log} {fault}"))));
        found.retain(|mistake| !self.is_unread(&mistake.key));
        found
    }

    /// What works otherwise than it is written.
    pub(super) fn doubts(&self) -> Vec<Mistake> {
        let Some(delivery) = self.delivery else { return Vec::new() };
        let own = delivery
            .destinations
            .iter()
            .filter_map(|(name, destination)| Some((format!("destinations.{name}.host"), destination.host.as_ref()?)));
        let hosts = own.chain([("posthog.host".to_string(), &delivery.posthog.host)]);
        let doubt = |(key, host): (String, &moehog_delivery::Host)| {
            let doubt = host.doubt(self.written.text(&key)?)?;
            let text = format!("{key}: {doubt}");
            Some(Mistake::new(key, text))
        };
        hosts.filter_map(doubt).collect()
    }

    /// Whether the key, or all of its section, could not be read.
    fn is_unread(&self, key: &str) -> bool {
        let is_above = |above: &str| key == above || key.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'));
        self.unread.iter().any(|mistake| is_above(mistake.key.split('[').next().unwrap_or_default()))
    }

    /// Destinations that sources name and nobody configured: their events would be held.
    fn unknown_destinations(&self) -> Vec<Mistake> {
        let gateway = self.gateway;
        let known: Vec<_> = gateway.destinations.keys().map(String::as_str).collect();
        let exists = |name: &str| {
            known.contains(&name)
                || name == "default" && (self.has_key || known.is_empty())
                || self.is_unread(&format!("destinations.{name}"))
        };
        let mut found = Vec::new();
        for (source, config) in &gateway.sources {
            for name in config.destinations() {
                // what is no name is told as such
                if Destination::of(name).key().is_some() || !is_name(name) || exists(name) {
                    continue;
                }
                let list = if name == config.destination { "destination" } else { "routes" };
                let key = format!("sources.{source}.{list}");
                let meant = if known.is_empty() { String::new() } else { format!("{}; or ", meant(name, &known)) };
                let text = format!(
                    "{key}: there is no destination `{name}`: {meant}add [destinations.{name}] with its api_key"
                );
                found.push(Mistake::new(key, text.replace("?; or add", "? Or add")));
            }
        }
        found
    }

    /// Sources that take nothing from anybody.
    fn closed_sources(&self) -> Vec<Mistake> {
        let unread =
            |name: &str| self.unread.iter().any(|mistake| mistake.key.starts_with(&format!("sources.{name}.")));
        let is_closed = |(name, source): &(&String, &moehog_gateway::Source)| {
            let is_open = !source.tokens.is_empty()
                || !source.basic.is_empty()
                || source.signature.is_some()
                || source.from.is_some()
                || name.as_str() == "default" && self.has_token;
            !is_open && !unread(name)
        };
        let closed = self.gateway.sources.iter().filter(|_| !self.gateway.http.allow_local).filter(is_closed);
        let told = closed.map(|(name, _)| {
            let tokens = ways_to_set(&format!("sources.{name}.tokens"));
            let text = format!("sources.{name}: nobody may send to it, since it has no token, no password and no addresses: set {tokens}");
            Mistake::new(format!("sources.{name}"), text)
        });
        told.collect()
    }

    /// Project keys of another kind, and what stands in a text until the key is put there.
    fn wrong_keys(&self) -> Vec<Mistake> {
        let keys = self.gateway.destinations.iter().filter_map(|(name, destination)| {
            let key = destination.api_key.as_ref().map(Secret::expose).filter(|key| !key.trim().is_empty())?;
            let text = format!("destinations.{name}.api_key {}", key_fault(key.trim())?);
            Some(Mistake::new(format!("destinations.{name}.api_key"), text))
        });
        keys.collect()
    }

    /// Listeners of one process at one address.
    fn shared_addresses(&self) -> Vec<Mistake> {
        let (http, admin) = (self.gateway.http.listen, self.gateway.admin.listen);
        let overlap = http.ip() == admin.ip() || http.ip().is_unspecified() || admin.ip().is_unspecified();
        let is_shared = http.port() != 0 && http.port() == admin.port() && overlap;
        // of the two, the one that was written
        let key = if self.written.has("admin.listen") { "admin.listen" } else { "http.listen" };
        let text = format!("{key}: http.listen and admin.listen are both port {}: take another one", http.port());
        is_shared.then(|| Mistake::new(key, text)).into_iter().collect()
    }
}

/// Why a text cannot be the key of a project, and what to do: a sentence that goes on from its name.
pub(super) fn key_fault(key: &str) -> Option<String> {
    const REMEDY: &str = "copy the project's api key (phc_…) from its settings in PostHog";
    let small = key.to_lowercase();
    let is_placeholder = key.contains(['<', '>', '{', '}', '…', '$'])
        || ["...", "your", "project_api_key", "xxxx"].iter().any(|part| small.contains(part));
    match project_key_fault(key) {
        _ if is_placeholder => Some(format!("is a placeholder: {REMEDY}")),
        Some(fault) => Some(format!("{fault}: {REMEDY}")),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (Vec<String>, Vec<String>) {
        let written = Written::new(Some(("moehog.toml".into(), text.to_string())), []).unwrap();
        let (gateway, mut unread) = written.review(moehog_gateway::Config::DEFAULTS);
        let (delivery, more) = written.review(moehog_delivery::Config::DEFAULTS);
        unread.extend(more);
        let (gateway, delivery): (Option<moehog_gateway::Config>, Option<moehog_delivery::Config>) =
            (gateway, delivery);
        let gateway = gateway.unwrap();
        let whole = Whole {
            written: &written,
            gateway: &gateway,
            delivery: delivery.as_ref(),
            unread: &unread,
            has_key: false,
            has_token: false,
        };
        let texts = |all: Vec<Mistake>| all.into_iter().map(|mistake| mistake.text).collect();
        (texts(whole.mistakes()), texts(whole.doubts()))
    }

    #[test]
    fn each_mistake_between_the_parts_is_told_with_its_remedy() {
        let shop = "[destinations.shop]\napi_key = \"phc_shop\"\n";
        let source = |more: &str| format!("{shop}[sources.web]\ntokens = [\"a-long-enough-token\"]\n{more}");
        let remedy = "copy the project's api key (phc_…) from its settings in PostHog";
        for (text, told_of_it) in [
            (
                source("destination = \"shpo\""),
                "sources.web.destination: there is no destination `shpo`: did you mean `shop`? Or add [destinations.shpo] \
                 with its api_key"
                    .to_string(),
            ),
            (
                source("destination = \"shop\"\nroutes = [\"europe\"]"),
                "sources.web.routes: there is no destination `europe`: there are `shop`; or add [destinations.europe] with \
                 its api_key"
                    .to_string(),
            ),
            (
                format!("{shop}[sources.web]\ndestination = \"shop\""),
                "sources.web: nobody may send to it, since it has no token, no password and no addresses: set \
                 sources.web.tokens"
                    .to_string(),
            ),
            (
                "[destinations.eu]\napi_key = \"phx_personal\"".to_string(),
                format!("destinations.eu.api_key is a personal one (phx_…), which cannot send events: {remedy}"),
            ),
            (
                "[destinations.eu]\napi_key = \"phc_...\"".to_string(),
                format!("destinations.eu.api_key is a placeholder: {remedy}"),
            ),
            (
                "[destinations.eu]\napi_key = \"<ph_project_api_key>\"".to_string(),
                format!("destinations.eu.api_key is a placeholder: {remedy}"),
            ),
            (
                "[admin]\nlisten = \"0.0.0.0:8080\"".to_string(),
                "admin.listen: http.listen and admin.listen are both port 8080: take another one".to_string(),
            ),
            (
                "[telemetry]\nlog = \"infoo\"".to_string(),
                "telemetry.log has `infoo`, which is no level (off, error, warn, info, debug, trace): write a level such as \
                 info, or info,moehog_relay=debug"
                    .to_string(),
            ),
        ] {
            assert_eq!(told(&text), (vec![told_of_it], Vec::new()), "{text}");
        }
        for fine in [
            String::new(),
            source("destination = \"shop\""),
            "[sources.web]\nfrom = [\"10.0.0.0/8\"]".to_string(),
            "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"".to_string(),
            // what could not be read is told as that alone
            "[destinations]\nshop = 1\n[sources.web]\ndestination = \"shop\"\ntokns = []".to_string(),
        ] {
            assert_eq!(told(&fine), (Vec::new(), Vec::new()), "{fine}");
        }
    }

    #[test]
    fn a_host_that_is_read_otherwise_than_it_is_written_is_a_note() {
        let (mistakes, notes) =
            told("[posthog]\nhost = \"https://eu.posthog.com\"\n[destinations.x]\nhost = \"ph.example.com\"");
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(
            notes,
            [
                "destinations.x.host: has no scheme and is read as https://ph.example.com: write that",
                "posthog.host: eu.posthog.com is where people look at PostHog, and events go to \
                 https://eu.i.posthog.com: write that",
            ]
        );
    }
}
