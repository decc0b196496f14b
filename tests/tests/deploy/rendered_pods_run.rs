//! What the chart renders, run as processes: taken at its word, from the arguments to the grace period.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, ensure};
use http::Method;
use moehog_emulator::posthog::Running;
use moehog_tests::{Chart, Sender, TOKEN, by_person, from_soak, judge, send, within};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;

use super::{
    cluster::{Cluster, Secrets},
    faults::{Manifest, list, text},
    world::{KEY, SOON, chart, objects, posthog},
};

const ADMIN_TOKEN: &str = "admin-token-of-the-tests";
const GATEWAY: &str = "StatefulSet/moehog-gateway";
const SENDERS: u64 = 4;

/// The objects of a values file, with an emulated PostHog in place of the real one.
fn rendered(chart: &Chart, name: &str, posthog: &Running) -> anyhow::Result<Vec<Value>> {
    let host = format!("posthog.host={}", posthog.url());
    let port = format!("networkPolicy.posthog.port={}", posthog.addr().port());
    let sets = [&*host, "networkPolicy.posthog.cidrs={127.0.0.1/32}", &*port];
    let arguments: Vec<_> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    objects(&chart.render(&[chart.values(name)], &arguments)?)
}

/// The Secret that must be there before the install.
fn secrets() -> Secrets {
    let keys = [("posthog-api-key", KEY), ("moengage-token", TOKEN), ("admin-token", ADMIN_TOKEN)];
    let keys = keys.map(|(key, value)| (key.to_string(), value.to_string()));
    BTreeMap::from([("moehog".to_string(), keys.into())])
}

/// What a gateway's admin API says.
async fn asked(admin: SocketAddr, path: &str) -> Option<Value> {
    let token = format!("Bearer {ADMIN_TOKEN}");
    let answer = send(admin, Method::GET, path, &[("authorization", &token)], bytes::Bytes::new()).await.ok()?;
    (answer.status == 200).then(|| answer.json())
}

/// Waits until no journal holds a webhook that waits.
async fn settled(cluster: &Cluster) -> anyhow::Result<()> {
    for admin in cluster.addresses(GATEWAY, "admin")? {
        within(SOON, "every webhook is settled", async || {
            let status = asked(admin, "/api/status").await?;
            (status["ledger"]["webhooks"]["waiting"] == 0).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Lets some load through and holds the books against each other: nothing lost, doubled, refused or dead.
async fn end(cluster: &Cluster, posthog: &Running, sender: Sender) -> anyhow::Result<()> {
    let before = sender.taken();
    within(SOON, "webhooks are taken", async || (sender.taken() > before + 100).then_some(())).await?;
    let sent = sender.stop().await?;
    settled(cluster).await?;
    let refused: Vec<_> = sent.iter().filter(|sent| sent.status != Some(200)).collect();
    ensure!(refused.is_empty(), "{} of {} refused, the first {:?}", refused.len(), sent.len(), refused[0]);
    judge(&sent, &by_person(posthog), &HashSet::new(), &[]).keep()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_every_workload_refuses_no_webhook() -> anyhow::Result<()> {
    let Some(chart) = chart("a rolling restart of every workload refuses no webhook")? else { return Ok(()) };
    let posthog = posthog()?;
    let mut cluster = Cluster::start(rendered(&chart, "embedded", &posthog)?, secrets()).await?;
    ensure!(cluster.addresses(GATEWAY, "http")?.len() == 2, "two gateways are the default");
    let sender = Sender::start(cluster.service("moehog-gateway")?, KEY, SENDERS, 1);
    within(SOON, "the load is under way", async || (sender.taken() > 100).then_some(())).await?;
    for _ in 0..from_soak("MOEHOG_SOAK_ROUNDS", 1)? {
        let before = cluster.addresses(GATEWAY, "http")?;
        cluster.roll().await?;
        let after = cluster.addresses(GATEWAY, "http")?;
        ensure!(before.iter().all(|old| !after.contains(old)), "{before:?} became {after:?}");
    }
    end(&cluster, &posthog, sender).await?;
    cluster.delete().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_of_helm_passes_as_rendered() -> anyhow::Result<()> {
    let Some(chart) = chart("the test of helm passes as rendered")? else { return Ok(()) };
    let posthog = posthog()?;
    let cluster = Cluster::start(rendered(&chart, "minimal", &posthog)?, secrets()).await?;
    let said = cluster.run("Pod/moehog-test", Duration::from_secs(120)).await?;
    ensure!(posthog.books().unique() == 1, "{} events at PostHog; it said: {said}", posthog.books().unique());
    cluster.delete().await
}

/// What cert-manager makes of the Certificates: names, usages and the authority as they say.
fn certificates(objects: &[Value]) -> anyhow::Result<Secrets> {
    let authority = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = parameters.self_signed(&authority)?.pem();
    let issuer = Issuer::new(parameters, authority);
    let mut secrets = Secrets::new();
    for certificate in Manifest::new(objects).kind("Certificate").filter(|made| made["spec"]["isCA"] != true) {
        let spec = &certificate["spec"];
        let names: Vec<_> = list(&spec["dnsNames"]).iter().map(|name| text(name).to_string()).collect();
        let mut parameters = CertificateParams::new(names)?;
        for usage in list(&spec["usages"]) {
            match text(usage) {
                "client auth" => parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
                "server auth" => parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
                _ => {}
            }
        }
        let key = KeyPair::generate()?;
        let made = parameters.signed_by(&key, &issuer)?;
        let files = [("tls.crt", made.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", ca.clone())];
        let name = spec["secretName"].as_str().context("secretName")?.to_string();
        secrets.insert(name, files.map(|(name, content)| (name.to_string(), content)).into());
    }
    Ok(secrets)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_as_rendered_the_services_understand_each_other() -> anyhow::Result<()> {
    let Some(chart) = chart("with certificates as rendered the services understand each other")? else {
        return Ok(());
    };
    let posthog = posthog()?;
    let objects = rendered(&chart, "mtls", &posthog)?;
    let mut all = secrets();
    all.extend(certificates(&objects)?);
    let cluster = Cluster::start(objects, all).await?;
    let sender = Sender::start(cluster.service("moehog-gateway")?, KEY, SENDERS, 2);
    end(&cluster, &posthog, sender).await?;
    cluster.delete().await
}
