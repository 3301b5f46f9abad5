//! `docker-compose.yml` and the local stack run the same stores: same ports, users, passwords and versions. Every
//! service has a health check and a memory limit. The negative controls show that each comparison detects a change.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sluice_schemas::stores::Stores;
use sluice_stack::{Layout, Service, Settings};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml")
}

fn compose() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(file()).unwrap()).unwrap()
}

/// The differences between the file and the local stack, one string each.
fn differences(compose: &Value) -> Vec<String> {
    Service::ALL
        .iter()
        .flat_map(|service| [ports(compose, *service), version(compose, *service)])
        .flatten()
        .chain(logins(compose))
        .collect()
}

/// The containers of a service: one with its name, or one per node of a cluster.
fn containers(compose: &Value, service: Service) -> Vec<&Value> {
    let numbered = format!("{service}-");
    let belongs =
        |name: &str| name.strip_prefix(&numbered).map_or(name == service.name(), |n| n.parse::<u16>().is_ok());
    compose["services"].as_object().unwrap().iter().filter(|(name, _)| belongs(name)).map(|(_, body)| body).collect()
}

/// Compares the host ports that a service publishes. The bus of a Redis cluster is not published: its nodes share a
/// network namespace.
fn ports(compose: &Value, service: Service) -> Option<String> {
    let layout = Layout::new(&Settings::default()).unwrap();
    let nodes = if matches!(service, Service::RedisCache | Service::RedisState) { 2 } else { 1 };
    let all = service.ports(&layout);
    let expected: BTreeSet<u16> = all[..all.len() / nodes].iter().copied().collect();
    let published: Vec<&str> = containers(compose, service)
        .into_iter()
        .filter_map(|body| body["ports"].as_array())
        .flatten()
        .map(|port| port.as_str().unwrap())
        .collect();
    let found: BTreeSet<u16> = published.iter().map(|port| port.split(':').nth(1).unwrap().parse().unwrap()).collect();
    let outside: Vec<_> = published.iter().filter(|port| !port.starts_with("127.0.0.1:")).collect();
    (found != expected || !outside.is_empty())
        .then(|| format!("{service}: publishes {found:?} instead of {expected:?}, outside 127.0.0.1: {outside:?}"))
}

/// Compares versions: an image's tag is the local version, a prefix of it up to a dot, or the local version with a
/// packaging number.
fn version(compose: &Value, service: Service) -> Option<String> {
    let local = service.version();
    let agrees = |body: &&Value| {
        let tag = body["image"].as_str().unwrap().rsplit_once(':').unwrap().1;
        tag == local || local.starts_with(&format!("{tag}.")) || tag.starts_with(&format!("{local}-v"))
    };
    let containers = containers(compose, service);
    let other = containers.iter().find(|body| !agrees(body));
    match (containers.is_empty(), other) {
        (true, _) => Some(format!("{service}: is missing")),
        (false, other) => other.map(|body| format!("{service}: runs {} instead of {local}", body["image"])),
    }
}

/// Compares users and passwords.
fn logins(compose: &Value) -> Vec<String> {
    let stores = Stores::default();
    let (postgres, clickhouse, s3) = (stores.postgres.admin, stores.clickhouse.login, stores.s3);
    let expected = [
        ("postgres", "POSTGRES_USER", postgres.user),
        ("postgres", "POSTGRES_PASSWORD", postgres.password.reveal().to_owned()),
        ("clickhouse", "CLICKHOUSE_USER", clickhouse.user),
        ("clickhouse", "CLICKHOUSE_PASSWORD", clickhouse.password.reveal().to_owned()),
        ("s3", "MINIO_ROOT_USER", s3.access_key),
        ("s3", "MINIO_ROOT_PASSWORD", s3.secret_key.reveal().to_owned()),
        // Elasticsearch requires no login.
        ("elasticsearch", "xpack.security.enabled", "false".to_owned()),
    ];
    let found = |service: &str, key: &str| compose["services"][service]["environment"][key].as_str().map(str::to_owned);
    let wrong = expected.into_iter().filter(|(service, key, value)| found(service, key).as_ref() != Some(value));
    wrong.map(|(service, key, _)| format!("{service}: {key} differs")).collect()
}

#[test]
fn ports_users_and_versions_agree() {
    assert_eq!(differences(&compose()), [""; 0]);
}

#[test]
fn a_change_in_the_file_is_detected() {
    let changes: [(&str, Value); 6] = [
        ("/services/postgres/ports/0", json!("127.0.0.1:21999:5432")),
        ("/services/kafka/ports/0", json!("21001:21001")),
        ("/services/redis-cache-4/image", json!("redis/redis-stack-server:7.2.0-v3")),
        ("/services/clickhouse/image", json!("clickhouse/clickhouse-server:26.6")),
        ("/services/postgres/environment/POSTGRES_PASSWORD", json!("secret")),
        ("/services/elasticsearch/environment/xpack.security.enabled", json!("true")),
    ];
    for (pointer, value) in changes {
        let mut other = compose();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(differences(&other).len(), 1, "{pointer}");
    }
}

#[test]
fn every_service_has_a_health_check_and_a_memory_limit() {
    for (name, body) in compose()["services"].as_object().unwrap() {
        assert!(body["healthcheck"]["test"].is_array(), "{name} has no health check");
        assert!(body["deploy"]["resources"]["limits"]["memory"].is_string(), "{name} has no memory limit");
    }
}

/// Whether Compose accepts a file; `None` if Compose is not installed.
fn accepted(path: &Path) -> Option<bool> {
    let commands = [("docker", &["compose"][..]), ("docker-compose", &[][..])];
    commands.into_iter().find_map(|(program, first)| {
        let run = |args: &[&str]| Command::new(program).args(first).args(args).output().ok();
        run(&["version"]).filter(|output| output.status.success())?;
        run(&["--file", path.to_str()?, "config", "--quiet"]).map(|output| output.status.success())
    })
}

#[test]
fn compose_accepts_the_file_if_it_is_installed() {
    let Some(is_accepted) = accepted(&file()) else {
        eprintln!("skipped: neither `docker compose` nor `docker-compose` is installed");
        return;
    };
    assert!(is_accepted);
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("docker-compose.yml");
    let text = fs::read_to_string(file()).unwrap();
    fs::write(&broken, text.replacen("healthcheck:", "health:", 1)).unwrap();
    assert_eq!(accepted(&broken), Some(false), "a misspelled key is refused");
}
