//! The Kubernetes manifests: every file is one object; ports, deadlines, memory, group, topics and addresses agree with the code
//! and with each other; and `sluice` accepts the settings of a pod, from its file and its variables.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use bytesize::ByteSize;
use serde_json::{Value, json};
use sluice_ingest::config::Settings;

use crate::{container, path, read, yaml};

const BASE: &str = "deploy/kubernetes/base";
const OPERATORS: &str = "deploy/kubernetes/with-operators";
const PASSWORD: &str = "hunter2";

/// The manifests by file name without extension.
type Manifests = BTreeMap<String, Value>;

fn manifests() -> Manifests {
    let mut manifests = Manifests::new();
    for folder in [BASE, OPERATORS] {
        for entry in fs::read_dir(path(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let stem = name.strip_suffix(".yaml").unwrap_or_else(|| panic!("{name} is not a manifest"));
            let key = if stem == "kustomization" { format!("{folder}/{stem}") } else { stem.to_owned() };
            manifests.insert(key, yaml(&format!("{folder}/{name}")));
        }
    }
    manifests
}

fn at<'a>(manifests: &'a Manifests, file: &str, pointer: &str) -> &'a Value {
    manifests[file].pointer(pointer).unwrap_or(&Value::Null)
}

fn container_of(manifests: &Manifests) -> &Value {
    at(manifests, "deployment", "/spec/template/spec/containers/0")
}

fn size(value: &Value) -> ByteSize {
    value.as_str().unwrap_or_default().replace("Mi", " MiB").parse().unwrap_or_default()
}

/// Runs `config check` with a pod's settings: the ConfigMap's file, the image's and the Deployment's variables.
fn config_check(manifests: &Manifests) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    fs::write(&file, at(manifests, "configmap", "/data/sluice.toml").as_str().unwrap()).unwrap();
    let variables = container_of(manifests)["env"].as_array().unwrap().iter().map(|variable| {
        let value = match variable["value"].as_str() {
            Some(value) => value.to_owned(),
            None => secret(manifests, &variable["valueFrom"]["secretKeyRef"]),
        };
        (variable["name"].as_str().unwrap().to_owned(), value)
    });
    let variables = container::environment().into_iter().chain(variables);
    let program = env!("CARGO_BIN_EXE_sluice");
    let check = ["config", "check"];
    Command::new(program).arg("--config").arg(&file).args(check).env_clear().envs(variables).output().unwrap()
}

/// The example Secret's value for a reference, with a password that a test can search for.
fn secret(manifests: &Manifests, reference: &Value) -> String {
    let secret = &manifests["secret.example"];
    assert_eq!(secret["metadata"]["name"], reference["name"], "the example is for another Secret");
    let value = secret["stringData"][reference["key"].as_str().unwrap()].as_str().unwrap_or_default();
    value.replace("change-me", PASSWORD)
}

/// The effective settings of a pod, if `sluice` accepts them.
fn effective_settings(manifests: &Manifests) -> Option<toml::Table> {
    let output = config_check(manifests);
    output.status.success().then(|| toml::from_str(&String::from_utf8(output.stdout).unwrap()).unwrap())
}

/// Every difference between the manifests and the code or among the manifests, one line each.
fn differences(manifests: &Manifests) -> Vec<String> {
    let mut differences = Vec::new();
    differences.extend(check_addresses_and_ports(manifests));
    differences.extend(check_pods(manifests));
    match effective_settings(manifests) {
        Some(settings) => differences.extend(check_settings(manifests, &settings)),
        None => differences.push("sluice refuses the settings".to_owned()),
    }
    differences
}

fn failed_checks(checks: impl IntoIterator<Item = (bool, &'static str)>) -> Vec<String> {
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what.to_owned()).collect()
}

fn check_addresses_and_ports(all: &Manifests) -> Vec<String> {
    let port = Settings::default().listen.port();
    let container = container_of(all);
    let label = json!({ "app.kubernetes.io/name": "sluice-ingest" });
    let pod = at(all, "deployment", "/spec/template/metadata");
    let selects = |file, pointer| *at(all, file, pointer) == label;
    failed_checks([
        (container["ports"] == json!([{ "name": "metrics", "containerPort": port }]), "the container's port"),
        (pod["annotations"]["prometheus.io/port"] == json!(port.to_string()), "the annotated port"),
        (container["livenessProbe"]["httpGet"] == json!({ "path": "/healthz", "port": "metrics" }), "liveness"),
        (container["readinessProbe"]["httpGet"] == json!({ "path": "/readyz", "port": "metrics" }), "readiness"),
        (at(all, "service", "/spec/ports/0/targetPort") == "metrics", "the Service's target"),
        (at(all, "service", "/spec/publishNotReadyAddresses") == true, "workers that are not ready are not scraped"),
        (
            at(all, "servicemonitor", "/spec/endpoints/0/port") == at(all, "service", "/spec/ports/0/name"),
            "the monitor's port",
        ),
        (pod["labels"]["app.kubernetes.io/name"] == "sluice-ingest", "the pods' label"),
        (selects("deployment", "/spec/selector/matchLabels"), "the Deployment's selector"),
        (selects("service", "/spec/selector"), "the Service's selector"),
        (selects("poddisruptionbudget", "/spec/selector/matchLabels"), "the budget's selector"),
        (selects("servicemonitor", "/spec/selector/matchLabels"), "the monitor's selector"),
        (
            at(all, "service", "/metadata/labels/app.kubernetes.io~1name") == "sluice-ingest",
            "the monitor does not find the Service",
        ),
    ])
}

fn check_pods(all: &Manifests) -> Vec<String> {
    let container = container_of(all);
    let pod = at(all, "deployment", "/spec/template/spec");
    let image = format!("sluice:{}", env!("CARGO_PKG_VERSION"));
    let limits = (&container["resources"]["requests"]["memory"], &container["resources"]["limits"]["memory"]);
    failed_checks([
        (container["image"] == image, "the image is not of this release"),
        (container["securityContext"]["readOnlyRootFilesystem"] == true, "the root file system can be written to"),
        (container["securityContext"]["allowPrivilegeEscalation"] == false, "privileges can be escalated"),
        (container["securityContext"]["capabilities"]["drop"] == json!(["ALL"]), "capabilities are kept"),
        (pod["securityContext"]["runAsNonRoot"] == true, "may run as root"),
        (pod["securityContext"]["runAsUser"] == container::user(), "the user is not the image's"),
        (pod["enableServiceLinks"] == false, "Services add variables"),
        (size(limits.0) <= size(limits.1), "the memory request exceeds the limit"),
        (
            *at(all, "deployment", "/metadata/name") == *at(all, "scaledobject", "/spec/scaleTargetRef/name"),
            "scales another Deployment",
        ),
    ])
}

fn check_settings(all: &Manifests, settings: &toml::Table) -> Vec<String> {
    let ingest: Settings = settings["ingest"].clone().try_into().unwrap();
    let stores = &settings["stores"];
    let expected = Settings { listen: ingest.listen, kafka: ingest.kafka.clone(), ..Settings::default() };
    let grace = at(all, "deployment", "/spec/template/spec/terminationGracePeriodSeconds").as_u64().unwrap_or_default();
    let limit = size(&container_of(all)["resources"]["limits"]["memory"]);
    let login = stores["clickhouse"]["login"]["user"].as_str();
    let mut differences = failed_checks([
        (ingest == expected, "the settings in the file are not the defaults"),
        (ingest.listen.ip().is_unspecified(), "the metrics cannot be reached from outside the pod"),
        (ingest.listen.port() == Settings::default().listen.port(), "the worker listens on another port"),
        (
            grace >= (ingest.drain_deadline + ingest.revoke_deadline).as_secs() + 5,
            "the worker is killed before it has drained",
        ),
        (
            limit.0 >= ingest.memory_budget.0 + ingest.memory_budget.0 / 5,
            "the memory limit leaves no room above the budget",
        ),
        (
            login == at(all, "secret.example", "/stringData/clickhouse-user").as_str(),
            "ClickHouse's user does not reach the pod",
        ),
        (ingest.kafka.contains_key("sasl.username"), "Kafka's login does not reach the pod"),
    ]);
    differences.extend(check_scaling(all, &ingest, stores["kafka"]["brokers"].as_str().unwrap_or_default()));
    differences
}

/// Checks that the scaler watches every topic of the group and requests no more workers than a topic has partitions.
fn check_scaling(all: &Manifests, ingest: &Settings, brokers: &str) -> Vec<String> {
    let triggers = at(all, "scaledobject", "/spec/triggers").as_array().unwrap();
    let values = |key: &str| {
        triggers.iter().map(|trigger| trigger["metadata"][key].as_str().unwrap_or_default()).collect::<Vec<_>>()
    };
    let mut watched = values("topic");
    watched.sort_unstable();
    let topics: Vec<&str> = ingest.enabled().map(|(topic, _)| topic.as_str()).collect();
    let bounds =
        ["/spec/minReplicaCount", "/spec/maxReplicaCount"].map(|pointer| at(all, "scaledobject", pointer).as_u64());
    let replicas = at(all, "deployment", "/spec/replicas").as_u64();
    let file: toml::Table = toml::from_str(&read("schemas/kafka/topics.toml")).unwrap();
    let declared = file["topic"].as_array().unwrap().iter();
    let consumed = declared.filter(|topic| topics.contains(&topic["name"].as_str().unwrap()));
    let partitions = consumed.map(|topic| topic["partitions"].as_integer().unwrap().cast_unsigned()).max();
    failed_checks([
        (watched == topics, "the scaler watches other topics"),
        (values("consumerGroup").iter().all(|group| *group == ingest.group), "the scaler watches another group"),
        (values("bootstrapServers").iter().all(|servers| *servers == brokers), "the scaler queries other brokers"),
        (
            values("offsetResetPolicy").iter().all(|policy| *policy == "latest"),
            "without an offset, the whole log counts as lag",
        ),
        (values("excludePersistentLag").iter().all(|value| *value == "true"), "unreadable records request workers"),
        (bounds[1] == partitions, "the maximum number of workers differs from the number of partitions"),
        (bounds[0] <= replicas && replicas <= bounds[1], "the replicas are outside the scaler's bounds"),
    ])
}

#[test]
fn every_manifest_is_one_object_and_is_used() {
    let manifests = manifests();
    for (name, manifest) in &manifests {
        assert!(manifest["apiVersion"].is_string() && manifest["kind"].is_string(), "{name}");
        assert!(manifest["metadata"]["namespace"].is_null(), "{name}: the user chooses the namespace");
    }
    let listed: Vec<&str> = [BASE, OPERATORS]
        .iter()
        .flat_map(|folder| manifests[&format!("{folder}/kustomization")]["resources"].as_array().unwrap())
        .filter_map(|resource| resource.as_str().unwrap().strip_suffix(".yaml"))
        .collect();
    let unlisted: Vec<_> =
        manifests.keys().filter(|name| !listed.contains(&name.as_str()) && !name.contains('/')).collect();
    assert_eq!(unlisted, ["secret.example"]);
}

#[test]
fn the_manifests_agree_with_the_code_and_each_other() {
    assert_eq!(differences(&manifests()), [""; 0]);
}

#[test]
fn a_change_to_a_manifest_is_detected() {
    let container = "/spec/template/spec/containers/0";
    let changes: [(&str, &str, Value); 21] = [
        ("deployment", &format!("{container}/ports/0/containerPort"), json!(9090)),
        ("deployment", &format!("{container}/readinessProbe/httpGet/path"), json!("/healthz")),
        ("deployment", &format!("{container}/image"), json!("sluice:0.0.1")),
        ("deployment", &format!("{container}/resources/limits/memory"), json!("256Mi")),
        ("deployment", &format!("{container}/securityContext/readOnlyRootFilesystem"), json!(false)),
        ("deployment", &format!("{container}/env/0/value"), json!("127.0.0.1:21050")),
        ("deployment", &format!("{container}/env/1/name"), json!("SLUICE_STORES__CLICKHOUSE__USER")),
        ("deployment", &format!("{container}/env/3/name"), json!("SLUICE_STORES__KAFKA__LOGIN")),
        ("deployment", "/spec/template/spec/terminationGracePeriodSeconds", json!(30)),
        ("deployment", "/spec/template/spec/securityContext/runAsUser", json!(1000)),
        ("deployment", "/spec/replicas", json!(7)),
        ("service", "/spec/publishNotReadyAddresses", json!(false)),
        ("service", "/spec/selector", json!({ "app": "sluice" })),
        ("servicemonitor", "/spec/endpoints/0/port", json!("http")),
        ("scaledobject", "/spec/triggers/1/metadata/topic", json!("agent-metric")),
        ("scaledobject", "/spec/triggers/2/metadata/consumerGroup", json!("ingest")),
        ("scaledobject", "/spec/triggers/1/metadata/offsetResetPolicy", json!("earliest")),
        ("scaledobject", "/spec/triggers/1/metadata/excludePersistentLag", json!("false")),
        ("scaledobject", "/spec/triggers/0/metadata/bootstrapServers", json!("kafka:9093")),
        ("scaledobject", "/spec/maxReplicaCount", json!(18)),
        ("configmap", "/data/sluice.toml", json!("[ingest]\ngroup = \"other\"\n")),
    ];
    for (file, pointer, value) in changes {
        let mut edited = manifests();
        *edited.get_mut(file).unwrap().pointer_mut(pointer).unwrap() = value;
        assert_ne!(differences(&edited), [""; 0], "{file} {pointer}");
    }
}

#[test]
fn passwords_reach_the_pod_and_are_not_printed() {
    let manifests = manifests();
    let output = config_check(&manifests);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("\"sasl.password\" = \"***\""), "{printed}");
    assert!(!printed.contains(PASSWORD) && !String::from_utf8(output.stderr).unwrap().contains(PASSWORD));
}
