//! Certificates between the services: whether each is taken for what it is shown for.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    addresses::{Call, address},
    durations::go_seconds,
    manifest::{Manifest, list, text, title},
};

/// What cert-manager takes for a duration that a certificate does not have.
const DURATION: f64 = 2160.0 * 3600.0;

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    let mut secrets = BTreeSet::new();
    for certificate in manifest.kind("Certificate") {
        let spec = &certificate["spec"];
        let own = secrets.insert(text(&spec["secretName"]));
        faults.unless(own, Check::CertificatesFit, title(certificate), "writes the Secret of another");
        let duration = spec["duration"].as_str().map_or(Some(DURATION), go_seconds);
        let before = spec["renewBefore"].as_str().map_or(duration.map(|whole| whole / 3.0), go_seconds);
        // cert-manager's own bounds
        let well = duration
            .is_some_and(|whole| before.is_some_and(|before| whole >= 3600.0 && before >= 300.0 && before < whole));
        let what = format!("lives for {}, is renewed {} before its end", spec["duration"], spec["renewBefore"]);
        faults.unless(well, Check::CertificatesFit, title(certificate), what);
        let reference = &spec["issuerRef"];
        let external = !["Issuer", "ClusterIssuer"].contains(&reference["kind"].as_str().unwrap_or("Issuer"));
        let group = external || reference["group"].as_str().unwrap_or("cert-manager.io") == "cert-manager.io";
        faults.unless(group, Check::CertificatesFit, title(certificate), format!("nobody issues for {reference}"));
        let short = text(&spec["commonName"]).len() <= 64;
        faults.unless(
            short,
            Check::CertificatesFit,
            title(certificate),
            "has a common name of more than 64 characters",
        );
    }
    let mut issuers = BTreeSet::new();
    for pod in manifest.workloads() {
        let Some(certificate) = shown(manifest, pod) else { continue };
        issuers.insert(certificate["spec"]["issuerRef"].to_string());
        look_at_shown(manifest, pod, certificate, faults);
    }
    if let Some(first) = manifest.kind("Certificate").next() {
        let one = issuers.len() == 1;
        let what = format!("services trust who signed their own certificate, and {} sign them", issuers.len());
        faults.unless(one, Check::CertificatesFit, title(first), what);
    }
    for issuer in manifest.kind("Issuer") {
        let Some(secret) = issuer["spec"]["ca"]["secretName"].as_str() else { continue };
        let signs = manifest.kind("Certificate").any(|certificate| {
            let spec = &certificate["spec"];
            spec["secretName"] == secret && spec["isCA"] == true && has_usage(certificate, "cert sign")
        });
        faults.unless(signs, Check::CertificatesFit, title(issuer), format!("{secret} may sign nothing"));
    }
}

/// The certificate that a pod shows.
fn shown<'a>(manifest: &Manifest<'a>, pod: Pod<'_>) -> Option<&'a Value> {
    let secrets: Vec<_> =
        list(&pod.spec()["volumes"]).iter().map(|volume| text(&volume["secret"]["secretName"])).collect();
    manifest.kind("Certificate").find(|certificate| secrets.contains(&text(&certificate["spec"]["secretName"])))
}

fn look_at_shown(manifest: &Manifest<'_>, pod: Pod<'_>, certificate: &Value, faults: &mut Faults) {
    let gateway = pod.component() == "gateway";
    let usage = if gateway { "client auth" } else { "server auth" };
    let well = has_usage(certificate, usage) && has_usage(certificate, "digital signature");
    let what = format!("is for {}, {} needs `{usage}`", certificate["spec"]["usages"], pod.title());
    faults.unless(well, Check::CertificatesFit, title(certificate), what);
    let issuer = manifest.find("Issuer", text(&certificate["spec"]["issuerRef"]["name"]));
    let signed = issuer.is_none_or(|issuer| issuer["spec"].get("selfSigned").is_none());
    faults.unless(signed, Check::CertificatesFit, title(certificate), "is signed by itself: nobody trusts it");
    let caller = manifest.workloads().find(|pod| pod.component() == "gateway").filter(|_| !gateway);
    let Some(caller) = caller else { return };
    let address = address(caller, pod.component());
    let named = caller.variable(&format!("MOEHOG__{}__SERVER_NAME", pod.component().to_uppercase()));
    let asked = named.or_else(|| Some(Call::parse(&address)?.host)).unwrap_or_default();
    let names = list(&certificate["spec"]["dnsNames"]);
    let what = format!("is for {names:?}, the gateway asks for `{asked}`");
    faults.unless(names.iter().any(|name| name == asked), Check::CertificatesFit, title(certificate), what);
    look_at_callers(manifest, pod, caller, faults);
}

/// The worker lets in the gateway by a name of its certificate, and nobody else.
fn look_at_callers(manifest: &Manifest<'_>, pod: Pod<'_>, gateway: Pod<'_>, faults: &mut Faults) {
    let callers = pod.variable(&format!("MOEHOG__{}__CALLERS", pod.component().to_uppercase())).unwrap_or_default();
    let names = shown(manifest, gateway).map(|certificate| list(&certificate["spec"]["dnsNames"])).unwrap_or_default();
    let let_in: Vec<Value> = serde_json::from_str(callers).unwrap_or_default();
    let well = !let_in.is_empty() && let_in.iter().all(|caller| names.contains(caller));
    let what = format!("lets in `{callers}`, and the gateway's certificate is for {names:?}");
    faults.unless(well, Check::CertificatesFit, pod.title(), what);
}

fn has_usage(certificate: &Value, usage: &str) -> bool {
    list(&certificate["spec"]["usages"]).iter().any(|one| one == usage)
}
