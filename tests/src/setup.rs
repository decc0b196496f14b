//! What a deployment under test is made of.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::PathBuf};

/// How many processes moehog runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `moehog`: everything in one process.
    One,
    /// `moehog-gateway`, `moehog-transformer` and `moehog-delivery`.
    Three,
}

/// A process of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// All in one.
    Moehog,
    /// Takes webhooks and keeps the journal.
    Gateway,
    /// Maps them.
    Transformer,
    /// Sends them to PostHog.
    Delivery,
}

impl Service {
    /// The name of its binary.
    #[must_use]
    pub fn binary(self) -> &'static str {
        match self {
            Self::Moehog => "moehog",
            Self::Gateway => "moehog-gateway",
            Self::Transformer => "moehog-transformer",
            Self::Delivery => "moehog-delivery",
        }
    }

    /// Whether it keeps the journal.
    #[must_use]
    pub fn keeps_journal(self) -> bool {
        matches!(self, Self::Moehog | Self::Gateway)
    }
}

/// A deployment to start. The source `default` delivers to the destination `default`.
#[derive(Debug, Clone)]
pub struct Setup {
    /// One process or three.
    pub shape: Shape,
    /// The configuration file, in sections that no [`Setup::set`] contradicts.
    pub file: String,
    /// `MOEHOG__…` and other variables of every process.
    pub variables: Vec<(String, String)>,
    /// Texts that mark a `warn` or `error` line as one that the test brings about.
    pub expected: Vec<String>,
    /// Where the journal lives; in the deployment's own directory when none.
    pub journal: Option<PathBuf>,
    /// What the process that keeps the journal is started through, such as `nsenter …`.
    pub through: Vec<String>,
    /// Where the gateway finds the transformer, when not where it listens.
    pub transformer: Option<String>,
    /// Where the gateway finds delivery, when not where it listens.
    pub delivery: Option<String>,
    /// Where the binaries lie; built and found by [`crate::binary`] when none.
    pub binaries: Option<PathBuf>,
    /// Where the binary of one service lies, when not with the others.
    pub binaries_of: BTreeMap<Service, PathBuf>,
    /// What a process listens on (its service, its admin port); free ports where none is named.
    pub listen: BTreeMap<Service, (SocketAddr, SocketAddr)>,
    /// Whether ctrl-c at the terminal passes the processes by.
    pub own_group: bool,
}

/// The token that the source `default` asks for.
pub const TOKEN: &str = "token-of-the-tests";

impl Setup {
    /// A deployment that delivers to the PostHog at `posthog` with `key`.
    #[must_use]
    pub fn new(shape: Shape, posthog: &str, key: &str) -> Self {
        let mut file = String::new();
        let written = write!(
            file,
            "[sources.default]\ndestination = \"default\"\ntokens = [\"{TOKEN}\"]\n\n\
             [destinations.default]\napi_key = \"{key}\"\nhost = \"{posthog}\"\n"
        );
        debug_assert!(written.is_ok(), "a string takes everything");
        Self {
            shape,
            file,
            variables: Vec::new(),
            expected: Vec::new(),
            journal: None,
            through: Vec::new(),
            transformer: None,
            delivery: None,
            binaries: None,
            binaries_of: BTreeMap::new(),
            listen: BTreeMap::new(),
            own_group: false,
        }
    }

    /// Sets the key `path` (as in `journal.budget_bytes`) to `value`.
    #[must_use]
    pub fn set(self, path: &str, value: &str) -> Self {
        let name = format!("MOEHOG__{}", path.to_ascii_uppercase().replace('.', "__"));
        self.variable(&name, value)
    }

    /// Sets a variable of every process.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_string(), value.to_string()));
        self
    }

    /// Adds sections to the configuration file.
    #[must_use]
    pub fn section(mut self, text: &str) -> Self {
        self.file.push('\n');
        self.file.push_str(text);
        self
    }

    /// Expects complaints that hold `text`.
    #[must_use]
    pub fn expect(mut self, text: &str) -> Self {
        self.expected.push(text.to_string());
        self
    }

    /// The processes it runs as, in the order they start.
    #[must_use]
    pub fn services(&self) -> &'static [Service] {
        match self.shape {
            Shape::One => &[Service::Moehog],
            Shape::Three => &[Service::Transformer, Service::Delivery, Service::Gateway],
        }
    }
}
