//! An API server that can be read: it says which kinds there are, and gives out objects.
//!
//! helm's `lookup` asks it in a dry run of the server. It writes nothing, validates nothing, and knows one namespace.

use std::{io::Write, path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{net::TcpListener, task::JoinHandle};

/// What a chart may render: group and version, kind, name in addresses.
const KINDS: [(&str, &str, &str); 11] = [
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("v1", "Pod", "pods"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

#[derive(Debug)]
struct Objects {
    objects: Vec<Value>,
    lists: bool,
}

/// A running server. It ends with this.
#[derive(Debug)]
pub struct ApiServer {
    kubeconfig: NamedTempFile,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Gives out these objects.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn with(objects: Vec<Value>) -> anyhow::Result<Self> {
        Self::start(Objects { objects, lists: true }).await
    }

    /// Whoever asks may list nothing.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn that_lists_nothing() -> anyhow::Result<Self> {
        Self::start(Objects { objects: Vec::new(), lists: false }).await
    }

    async fn start(objects: Objects) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let cluster = json!({"name": "it", "cluster": {"server": format!("http://{}", listener.local_addr()?)}});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it", "clusters": [cluster],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {}}],
        });
        let mut kubeconfig = NamedTempFile::new()?;
        write!(kubeconfig, "{config}")?;
        let router = Router::new().fallback(answer).with_state(Arc::new(objects));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { kubeconfig, task })
    }

    /// The file that leads helm here.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(objects): State<Arc<Objects>>, uri: Uri) -> Response {
    let parts: Vec<_> = uri.path().trim_start_matches('/').split('/').collect();
    if let (false, ["api" | "apis", .., "namespaces", _, _]) = (objects.lists, &parts[..]) {
        return failure(StatusCode::FORBIDDEN, "Forbidden");
    }
    let found = match parts[..] {
        ["version"] => Some(json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => Some(groups()),
        ["api", "v1"] => Some(kinds("v1")),
        ["apis", group, version] => Some(kinds(&format!("{group}/{version}"))),
        ["api", "v1", "namespaces", _, kind, ref name @ ..] => objects.find(kind, name.first()),
        ["apis", _, _, "namespaces", _, kind, ref name @ ..] => objects.find(kind, name.first()),
        _ => None,
    };
    found.map_or_else(|| failure(StatusCode::NOT_FOUND, "NotFound"), |found| Json(found).into_response())
}

fn failure(status: StatusCode, reason: &str) -> Response {
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status.as_u16()});
    (status, Json(body)).into_response()
}

fn groups() -> Value {
    let mut versions: Vec<_> = KINDS.iter().filter_map(|(version, _, _)| version.split_once('/')).collect();
    versions.dedup();
    let group = |(group, version)| {
        let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        json!({"name": group, "versions": [version], "preferredVersion": version})
    };
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": versions.into_iter().map(group).collect::<Vec<_>>()})
}

fn kinds(of: &str) -> Value {
    let kinds = KINDS.iter().filter(|(version, _, _)| *version == of);
    let kinds: Vec<_> = kinds
        .map(|(_, kind, name)| {
            json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "list"]})
        })
        .collect();
    json!({"kind": "APIResourceList", "groupVersion": of, "resources": kinds})
}

impl Objects {
    /// One object, or the list of all of a kind.
    fn find(&self, kind: &str, name: Option<&&str>) -> Option<Value> {
        let (version, kind, _) = KINDS.iter().find(|(_, _, plural)| *plural == kind)?;
        let mut of_kind = self.objects.iter().filter(|object| object["kind"] == *kind);
        let Some(name) = name else {
            let items: Vec<_> = of_kind.collect();
            return Some(json!({"kind": format!("{kind}List"), "apiVersion": version, "metadata": {}, "items": items}));
        };
        of_kind.find(|object| object["metadata"]["name"] == **name).cloned()
    }
}
