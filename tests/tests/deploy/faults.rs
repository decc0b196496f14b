//! What no schema sees: whether the objects of a render fit together, are what an API server takes, and keep what this
//! chart promises of its manifests.
//!
//! A manifest can be valid line by line and still refer to a port that no container has, or let a pod be killed before it
//! has drained.
//! Each assertion here has a name, and `every_mutation_is_caught` breaks a render for each of them.

mod addresses;
mod budgets;
mod certificates;
mod configuration;
mod durations;
mod entrances;
mod fields;
mod hooks;
mod labels;
mod manifest;
mod measures;
mod network;
mod observed;
mod pods;
mod ports;
mod quantities;
mod ranges;
mod references;
mod rollouts;
mod scaling;
mod security;
mod selection;
mod services;
mod settings;
mod spellings;
mod stopping;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
};

use moehog_tests::code;
use serde_json::Value;

pub(crate) use self::{
    manifest::{Manifest, Pod, keyed, list, text},
    observed::{expressions, selectors},
};

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// An assertion about a render.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

checks! {
    /// Names, and what must be one, are.
    NamesAreValidAndUnique,
    /// Labels have the syntax of labels, and each object carries the six recommended ones.
    LabelsAreValid,
    /// All objects are in one namespace.
    NamespaceIsOne,
    /// A workload's selector fits its own pods and holds nothing that a new version changes.
    WorkloadsSelectTheirPods,
    /// Each Service, budget and policy selects the pods of exactly one workload.
    SelectorsChooseOneWorkload,
    /// Pods spread over zones and nodes, by their own labels.
    PodsSpread,
    /// A port that something names is on the pod that it leads to.
    PortsAreDeclared,
    /// Port names have the syntax of port names and are unique in a pod.
    PortNamesAreValid,
    /// Workers are found pod by pod: headless, and not translated.
    HeadlessPortsAreDirect,
    /// Ports say what is spoken on them.
    ProtocolsAreSaid,
    /// What a container mounts is a volume of its pod, and each volume is mounted.
    VolumesAreDeclared,
    /// What an object refers to is rendered, or comes from outside by design.
    ReferencesExist,
    /// Files that the configuration names are mounted where it says.
    ConfiguredFilesAreMounted,
    /// Mounted whole and readable by the process alone, so that updates arrive and others do not read.
    FilesAreMountedWhole,
    /// Secrets are somebody else's, and are files.
    SecretsStayOut,
    /// Every probe has one handler, on the admin port.
    ProbesAskTheAdminPort,
    /// The process's own stop fits between preStop and the kill.
    StopsBeforeTheKill,
    /// A rollout can move, and takes no pod away before another is there.
    RolloutsMove,
    /// A journal outlives its pod and its StatefulSet.
    JournalsAreKept,
    /// A changed configuration file restarts the pods.
    ConfigurationRestarts,
    /// Each workload has a disruption budget with one limit.
    BudgetsHaveOneLimit,
    /// The number of pods has one owner, within its bounds.
    ReplicasHaveOneOwner,
    /// Quantities can be read, and requests are within limits.
    QuantitiesFit,
    /// Memory is limited, and CPU is not, or not below the threads that run on it.
    LimitsLeaveRoom,
    /// Threads follow the requested CPUs.
    ThreadsFollowRequests,
    /// What Pod Security `restricted` asks, and a root that is read-only.
    PodsAreRestricted,
    /// No token of the API server is in any pod, and no role is given.
    TokensStayOut,
    /// Variables are unique, and expand only what stands before them.
    VariablesExpand,
    /// No key is left without a value.
    NothingIsNull,
    /// Words from a fixed list are spelled as there.
    WordsAreSpelled,
    /// Images are the service's own, in a version that stays.
    ImagesStay,
    /// Address ranges are as an API server takes them, and what is taken out lies inside.
    RangesFit,
    /// Policies let through what the pods are configured to do, and nothing else.
    EdgesAreAsDesigned,
    /// Queries are PromQL.
    QueriesParse,
    /// Alerts have a severity, a summary and a runbook.
    AlertsAreWhole,
    /// A dashboard's panels have a title, a text and queries of one namespace, and legends name labels that these keep.
    DashboardsAreWhole,
    /// Scrapes reach the admin port of each service, often enough.
    MetricsAreScraped,
    /// What an API server asks of a Deployment's or a StatefulSet's fields.
    WorkloadFieldsFit,
    /// What an API server asks of a pod's fields.
    PodFieldsFit,
    /// What an API server asks of a Service's fields.
    ServiceFieldsFit,
    /// Public names are DNS names, and public paths begin at the root.
    HostsAreNames,
    /// Pods find names of the cluster.
    NamesAreResolved,
    /// What is called is a port of this release.
    CallsArrive,
    /// Pods that are not ready are asked by nobody, and all that are ready by everybody.
    ReadyPodsAreAsked,
    /// Each path that takes webhooks leads to the gateway, and each public name.
    WebhooksArrive,
    /// Processes listen at the ports that they declare.
    ListensWhereDeclared,
    /// The journal lies on its volume and leaves some room there.
    JournalFitsItsVolume,
    /// Probes find what is down soon, and do not kill what is slow.
    ProbesAreInTime,
    /// Certificates are for the names and uses that they are shown for.
    CertificatesFit,
    /// Autoscalers measure this release, and may go both ways.
    AutoscalersAct,
    /// Queries name metrics, and values of labels, that the code sets and the scrape adds.
    QueriesFindSeries,
    /// What `helm test` runs is made by nothing else.
    TestsRunWhenAsked,
}

/// The code of all crates, read once: what metrics, words and paths there are. Empty when it cannot be read, and then no
/// query passes.
fn source() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| code().unwrap_or_default())
}

/// Whether a text stands in the code, as it is; asked often, so each answer is kept.
fn stands_in_code(text: &str) -> bool {
    static SEEN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    *seen.entry(text.to_string()).or_insert_with(|| source().contains(text))
}

/// An assertion that does not hold.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Which.
    pub(crate) check: Check,
    /// Kind and name of the object.
    pub(crate) object: String,
    /// What is wrong.
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}: {}", self.check, self.object, self.what)
    }
}

/// Everything that is wrong with a render.
pub(crate) fn faults(objects: &[Value]) -> Vec<Fault> {
    let manifest = Manifest::new(objects);
    let mut faults = Faults::default();
    for look in [
        labels::look,
        selection::look,
        ports::look,
        references::look,
        configuration::look,
        pods::look,
        stopping::look,
        rollouts::look,
        budgets::look,
        scaling::look,
        quantities::look,
        security::look,
        spellings::look,
        network::look,
        observed::look,
        addresses::look,
        certificates::look,
        entrances::look,
        fields::look,
        hooks::look,
        measures::look,
        services::look,
        settings::look,
    ] {
        look(&manifest, &mut faults);
    }
    faults.0
}

/// Collects faults.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, check: Check, object: impl fmt::Display, what: impl fmt::Display) {
        self.0.push(Fault { check, object: object.to_string(), what: what.to_string() });
    }

    /// Adds a fault unless it is well.
    fn unless(&mut self, well: bool, check: Check, object: impl fmt::Display, what: impl fmt::Display) {
        if !well {
            self.add(check, object, what);
        }
    }
}
