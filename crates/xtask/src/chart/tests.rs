use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri, header::LOCATION},
    response::{IntoResponse, Response},
};
use moehog_tests::{Tools, skip, stdout};

use super::*;

/// What a registry holds, by the path it is asked for.
type Stored = Arc<Mutex<BTreeMap<String, Bytes>>>;

fn arguments(into: &Path) -> Arguments {
    Arguments {
        package: into.to_path_buf(),
        registry: Some("ghcr.io/you".to_string()),
        home: Some("https://git.example.com/moehog".to_string()),
        push: None,
        plain_http: false,
    }
}

/// The chart; none on a machine that cannot have helm, which is then said of the test of this name.
fn chart(test: &str) -> anyhow::Result<Option<Chart>> {
    Chart::open().map(Some).or_else(|error| skip(test, &error).map(|()| None))
}

#[test]
fn a_package_knows_its_images_and_its_home_and_holds_no_test_values() -> anyhow::Result<()> {
    let Some(chart) = chart("a package knows its images and its home and holds no test values")? else { return Ok(()) };
    let directory = tempfile::tempdir()?;
    let package = package(&chart, &arguments(directory.path()))?;
    let rendered = stdout(Tools::fetch()?.helm().args(["template", "moehog"]).arg(&package))?;
    assert!(rendered.contains("image: ghcr.io/you/moehog-delivery:0.1.0\n"), "{rendered}");
    let about = stdout(Tools::fetch()?.helm().args(["show", "chart"]).arg(&package))?;
    for says in
        ["home: https://git.example.com/moehog\n", "- https://git.example.com/moehog\n", "ghcr.io/you/moehog:0.1.0"]
    {
        assert!(about.contains(says), "no `{says}`: {about}");
    }
    let files = stdout(std::process::Command::new("tar").arg("tzf").arg(&package))?;
    assert!(files.contains("moehog/README.md") && files.contains("moehog/files/dashboard.json"), "{files}");
    assert!(!files.contains("moehog/ci/"), "{files}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_can_be_pulled_again() -> anyhow::Result<()> {
    let Some(chart) = chart("what is pushed can be pulled again")? else { return Ok(()) };
    let address = start_registry().await?;
    let directory = tempfile::tempdir()?;
    let (path, registry) = (directory.path().to_path_buf(), format!("oci://{address}/charts"));
    tokio::task::spawn_blocking(move || {
        let package = package(&chart, &arguments(&path))?;
        let said = chart.push(&package, &registry, &["--plain-http"])?;
        assert!(said.contains("Pushed: ") && said.contains("/charts/moehog:0.1.0"), "{said}");
        let pulled = path.join("pulled");
        fs::create_dir(&pulled)?;
        let mut helm = Tools::fetch()?.helm();
        helm.args(["pull", &format!("{registry}/moehog"), "--version", "0.1.0", "--plain-http", "--destination"]);
        stdout(helm.arg(&pulled))?;
        assert_eq!(fs::read(pulled.join("moehog-0.1.0.tgz"))?, fs::read(&package)?);
        let refused =
            chart.push(&package, "oci://127.0.0.1:1/charts", &["--plain-http"]).map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.contains("127.0.0.1:1")), "{refused:?}");
        Ok(())
    })
    .await?
}

/// A registry that keeps what it is given, as the OCI distribution specification has it, without deletion, parts and mounts.
async fn start_registry() -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().fallback(answer).with_state(Stored::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn answer(State(stored): State<Stored>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
    let path = uri.path();
    if method == Method::POST {
        // where the blob is to be put; the digest follows in the query
        return (StatusCode::ACCEPTED, [(LOCATION, format!("{path}one"))]).into_response();
    }
    if method == Method::PUT {
        let path = match (path.strip_suffix("uploads/one"), uri.query()) {
            (Some(blobs), Some(query)) => format!("{blobs}{}", query.trim_start_matches("digest=").replace("%3A", ":")),
            _ => path.to_string(),
        };
        stored.insert(path.clone(), body);
        return (StatusCode::CREATED, [(LOCATION, path)]).into_response();
    }
    let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json")];
    match stored.get(path) {
        Some(content) => (kind, content.clone()).into_response(),
        None if path == "/v2/" => StatusCode::OK.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[test]
fn places_that_helm_would_not_understand_are_refused() {
    assert_eq!(oci("oci://ghcr.io/you/"), Ok("oci://ghcr.io/you".to_string()));
    assert!(url("https://git.example.com/moehog").is_ok());
    for wrong in ["ghcr.io/you", "oci://", "https://ghcr.io"] {
        assert!(oci(wrong).is_err(), "{wrong}");
    }
    for wrong in ["git.example.com", "https://", "ssh://git.example.com", "https://a b"] {
        assert!(url(wrong).is_err(), "{wrong}");
    }
}
