//! An S3 server, built from source by `go install` if it is named. It is MinIO, since the platform's buckets need
//! versioning, object lock, lifecycle rules and server-side encryption, which lighter gateways lack. Its community
//! edition is archived, so no other code depends on anything but the S3 API, and another server can replace it.

use futures::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;
use sluice_schemas::stores::Stores;

use crate::{
    artifact::{Artifact, Source},
    descriptor::Descriptor,
    error::{Error, FileContext},
    layout::Layout,
    node::Node,
    probe,
};

static PROGRAM: Artifact = Artifact {
    name: "minio",
    version: "0.0.0-20250907161309-07c3a429bfed",
    source: Source::Go("github.com/minio/minio"),
    // The client verifies the sources with the checksum database; the build differs between machines.
    sha256: "",
    links: &[],
    megabytes: 150,
};

/// Master key of SSE-S3: `name:` and 32 bytes in base64. It protects only test data on this machine.
const ENCRYPTION_KEY: &str = "sluice-local:c2x1aWNlLWxvY2FsLXN0YWNrLXRlc3Qta2V5LTAwMDE=";

pub(super) struct S3;

impl Descriptor for S3 {
    fn version(&self) -> &'static str {
        "RELEASE.2025-09-07T16-13-09Z"
    }

    fn artifacts(&self) -> Vec<&'static Artifact> {
        vec![&PROGRAM]
    }

    fn nodes(&self, layout: &Layout) -> Vec<Node> {
        let port = layout.ports().s3();
        let store = Stores::local(layout.ports().base()).s3;
        vec![Node {
            name: "s3".to_owned(),
            ports: vec![port],
            program: PROGRAM.dir(layout).join("bin/minio"),
            args: vec![
                "server".into(),
                layout.node_dir("s3").join("data").into_os_string(),
                "--address".into(),
                format!("127.0.0.1:{port}").into(),
                "--quiet".into(),
            ],
            env: vec![
                ("MINIO_ROOT_USER", store.access_key.into()),
                ("MINIO_ROOT_PASSWORD", store.secret_key.reveal().into()),
                ("MINIO_KMS_SECRET_KEY", ENCRYPTION_KEY.into()),
                ("MINIO_BROWSER", "off".into()),
                ("MINIO_UPDATE", "off".into()),
            ],
            refuses_root: false,
            stop: Signal::SIGTERM,
        }]
    }

    fn prepare<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let data = layout.node_dir("s3").join("data");
            std::fs::create_dir_all(&data).file("create", data)
        }
        .boxed()
    }

    fn ready<'a>(&'a self, layout: &'a Layout) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let port = layout.ports().s3();
            // The response has no body; its headers identify the server.
            let (headers, _) =
                probe::get_with_headers(&format!("http://127.0.0.1:{port}/minio/health/cluster")).await?;
            let is_own = headers.get("server").is_some_and(|server| server.as_bytes().starts_with(b"MinIO"));
            if is_own { Ok(()) } else { Err(format!("another server responds on port {port}")) }
        }
        .boxed()
    }
}
