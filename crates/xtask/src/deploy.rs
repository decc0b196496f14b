//! `cargo xtask deploy`: the chart against a real cluster, in a namespace of its own that is gone afterwards.
//!
//! First every render is shown to the API server, which checks it as strictly as it can and keeps nothing. Then, where images and a
//! PostHog are given, the chart is installed, `helm test` sends an event through it, and it is uninstalled.

use std::{
    collections::BTreeSet,
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use moehog_tests::{Chart, Tools, stdout};
use serde_json::json;

/// The project API key that the install delivers to; a variable, so that it stands in no list of processes.
const KEY: &str = "POSTHOG_API_KEY";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The kubeconfig file of the cluster.
    #[arg(long, value_name = "KUBECONFIG")]
    cluster: PathBuf,
    /// A context of that file, instead of its current one.
    #[arg(long)]
    context: Option<String>,
    /// The namespace that is made for this and deleted afterwards. It must not be there yet.
    #[arg(long, default_value = "moehog-check")]
    namespace: String,
    /// Where the images are. Without it nothing is installed. The project API key to deliver to is taken from POSTHOG_API_KEY.
    #[arg(long)]
    registry: Option<String>,
    /// The PostHog that the installed delivery sends to.
    #[arg(long, default_value = "https://us.i.posthog.com")]
    posthog: String,
    /// One more `--set` of the install, as in image.tag=0.1.0-3.
    #[arg(long)]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Helm,
    Kubectl,
}

/// A command that is run, and must succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    says: String,
    program: Program,
    arguments: Vec<String>,
    input: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    ensure!(arguments.cluster.is_file(), "there is no kubeconfig {}", arguments.cluster.display());
    let (chart, tools) = (Chart::open()?, Tools::fetch()?);
    let key = match (&arguments.registry, env::var(KEY)) {
        (Some(_), Err(_)) => bail!("--registry installs and sends an event: put a project API key into {KEY}"),
        (Some(_), Ok(key)) => Some(key),
        (None, _) => None,
    };
    let known = stdout(&mut command(&tools, arguments, &kubectl("what the cluster knows", &["api-versions"])))
        .context("ask the cluster what it knows: is the kubeconfig right, and the cluster up?")?;
    let known: BTreeSet<_> = known.lines().collect();
    let mut renders = Vec::new();
    for (name, values) in chart.cases()? {
        let (render, left_out) =
            leave_out_unknown(&chart.render_as("moehog", &arguments.namespace, &values, &[])?, &known);
        if !left_out.is_empty() {
            println!("ci/{name}.yaml without {}: the cluster does not know it", left_out.join(", "));
        }
        renders.push((name, render));
    }
    let made = do_step(&tools, arguments, &make(arguments));
    made.context("the namespace must not be there yet, and you must be allowed to make one")?;
    let steps = check(&renders).into_iter().chain(install(arguments, chart.directory(), key.as_deref()));
    let outcome = steps.into_iter().try_for_each(|step| do_step(&tools, arguments, &step));
    do_step(&tools, arguments, &remove(arguments))?;
    outcome?;
    println!("all well{}", if key.is_some() { "" } else { "; nothing was installed, since --registry was not given" });
    Ok(true)
}

fn do_step(tools: &Tools, arguments: &Arguments, step: &Step) -> anyhow::Result<()> {
    println!("{}", step.says);
    let mut command = command(tools, arguments, step);
    command.stdin(if step.input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    if let (Some(input), Some(mut stdin)) = (&step.input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).with_context(|| step.says.clone())?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "{}: {status}", step.says);
    Ok(())
}

fn command(tools: &Tools, arguments: &Arguments, step: &Step) -> Command {
    let (mut command, context) = match step.program {
        Program::Helm => (tools.helm(), "--kube-context"),
        Program::Kubectl => (tools.kubectl(), "--context"),
    };
    command.arg("--kubeconfig").arg(&arguments.cluster);
    if let Some(name) = &arguments.context {
        command.args([context, name]);
    }
    command.args(&step.arguments);
    command
}

fn step(says: &str, program: Program, arguments: &[&str]) -> Step {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Step { says: says.to_string(), program, arguments, input: None }
}

fn kubectl(says: &str, arguments: &[&str]) -> Step {
    step(says, Program::Kubectl, arguments)
}

/// Makes the namespace, in which only pods that keep Pod Security's strictest profile may run.
fn make(arguments: &Arguments) -> Step {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": arguments.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    let says = format!("makes the namespace {}", arguments.namespace);
    Step { input: Some(namespace.to_string()), ..kubectl(&says, &["create", "-f", "-"]) }
}

fn remove(arguments: &Arguments) -> Step {
    let says = format!("deletes the namespace {} with its volumes", arguments.namespace);
    kubectl(&says, &["delete", "namespace", &arguments.namespace, "--wait", "--timeout=10m"])
}

/// Shows each render to the API server, which keeps nothing.
fn check(renders: &[(String, String)]) -> Vec<Step> {
    let check = |(name, render): &(String, String)| Step {
        input: Some(render.clone()),
        ..kubectl(
            &format!("checks what ci/{name}.yaml renders"),
            &["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"],
        )
    };
    renders.iter().map(check).collect()
}

/// Installs, tests and uninstalls; nothing without a key.
fn install(arguments: &Arguments, chart: &Path, key: Option<&str>) -> Vec<Step> {
    let (Some(registry), Some(key)) = (&arguments.registry, key) else { return Vec::new() };
    let namespace = &arguments.namespace;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "moehog", "namespace": namespace},
        "stringData": {"posthog-api-key": key, "moengage-token": token(), "admin-token": token()},
    });
    let directory = chart.display().to_string();
    let (registry, posthog) = (format!("image.registry={registry}"), format!("posthog.host={}", arguments.posthog));
    let mut install = vec!["install", "moehog", &*directory, "--namespace", &**namespace, "--wait", "--timeout=10m"];
    let sets = [&registry, &posthog].into_iter().chain(&arguments.set);
    install.extend(sets.flat_map(|set| ["--set", set.as_str()]));
    vec![
        Step { input: Some(secret.to_string()), ..kubectl("makes the Secret", &["create", "-f", "-"]) },
        step("installs the chart", Program::Helm, &install),
        step(
            "sends an event through it",
            Program::Helm,
            &["test", "moehog", "--namespace", namespace, "--logs", "--timeout=5m"],
        ),
        step("uninstalls it", Program::Helm, &["uninstall", "moehog", "--namespace", namespace, "--wait"]),
    ]
}

/// A token that nobody else knows.
fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A render without the objects of API versions that a cluster does not know, and what these are.
fn leave_out_unknown(render: &str, known: &BTreeSet<&str>) -> (String, Vec<String>) {
    let (mut kept, mut left_out) = (String::new(), BTreeSet::new());
    for document in render.split("\n---\n").map(|document| document.trim_start_matches("---\n")) {
        let version = document.lines().find_map(|line| line.strip_prefix("apiVersion: "));
        match version {
            Some(version) if !known.contains(version) => drop(left_out.insert(version.to_string())),
            _ => kept += &format!("---\n{document}\n"),
        }
    }
    (kept, left_out.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(registry: Option<&str>) -> Arguments {
        Arguments {
            cluster: "cluster.yaml".into(),
            context: None,
            namespace: "check".to_string(),
            registry: registry.map(str::to_string),
            posthog: "https://eu.i.posthog.com".to_string(),
            set: vec!["image.tag=1".to_string()],
        }
    }

    #[test]
    fn renders_are_checked_strictly_and_nothing_is_kept() {
        let steps = check(&[("minimal".to_string(), "render".to_string())]);
        assert_eq!(steps[0].arguments.join(" "), "apply --server-side --dry-run=server --validate=strict -f -");
        assert_eq!(steps[0].input.as_deref(), Some("render"));
    }

    #[test]
    fn the_namespace_is_made_and_not_taken_over_and_holds_pods_to_the_strictest_profile() -> anyhow::Result<()> {
        let made = make(&arguments(None));
        assert_eq!(made.arguments.join(" "), "create -f -", "apply would take over one that is there");
        let namespace: serde_json::Value = serde_json::from_str(made.input.as_deref().context("a manifest")?)?;
        assert_eq!(namespace["metadata"]["name"], "check");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        assert_eq!(remove(&arguments(None)).arguments[..3], ["delete", "namespace", "check"]);
        Ok(())
    }

    #[test]
    fn what_is_installed_is_tested_and_uninstalled_and_its_key_is_in_no_command_line() {
        let chart = Path::new("/chart");
        assert_eq!(install(&arguments(None), chart, Some("phc_secret")), [], "without images nothing is installed");
        let steps = install(&arguments(Some("registry.example")), chart, Some("phc_secret"));
        let lines: Vec<_> = steps.iter().map(|step| step.arguments.join(" ")).collect();
        assert!(lines[0].starts_with("create -f -"), "{lines:?}");
        let installed = "--namespace check --wait --timeout=10m --set image.registry=registry.example \
                         --set posthog.host=https://eu.i.posthog.com --set image.tag=1";
        assert_eq!(lines[1], format!("install moehog /chart {installed}"));
        assert_eq!(
            lines[2..],
            ["test moehog --namespace check --logs --timeout=5m", "uninstall moehog --namespace check --wait"]
        );
        assert!(lines.iter().all(|line| !line.contains("phc_secret")), "{lines:?}");
        assert!(steps[0].input.as_ref().is_some_and(|secret| secret.contains("phc_secret")));
    }

    #[test]
    fn what_a_cluster_does_not_know_is_left_out_and_named() {
        let render = "---\n# Source: a\napiVersion: v1\nkind: Service\n---\n# Source: b\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\n\
                      ---\napiVersion: apps/v1\nkind: Deployment\n";
        let (kept, left_out) = leave_out_unknown(render, &["v1", "apps/v1"].into());
        assert_eq!(left_out, ["keda.sh/v1alpha1"]);
        assert!(kept.contains("kind: Service") && kept.contains("kind: Deployment") && !kept.contains("ScaledObject"));
    }
}
