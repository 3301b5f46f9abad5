//! With S3 enabled, `apply` creates the ADR's buckets and those for backups, archive and snapshots, with their
//! policies; without it, they are skipped and reported as such.

use sluice_schemas::apply::apply;
use sluice_schemas::check::check;
use sluice_schemas::stores::Stores;
use sluice_schemas::{Outcome, Store, drop_namespace};
use sluice_testkit::{Service, Stack, fresh_names};

const BUCKETS: [&str; 7] =
    ["customer-documents", "audio-recordings", "email-attachments", "templates", "backups", "archive", "snapshots"];

#[tokio::test]
async fn with_s3_every_bucket_is_created_and_verified() {
    let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), &[Service::S3]).await;
    let names = fresh_names("bucket");
    let mut stores = stack.stores(&names);
    stores.s3.enabled = true;
    let missing = check(&stores, &names, &[Store::S3]).await.expect("check");
    assert_eq!(missing.len(), BUCKETS.len(), "before apply every bucket is missing: {missing:#?}");

    let applied = apply(&stores, &names, &[Store::S3]).await.unwrap_or_else(|error| panic!("failed to {error}"));
    for bucket in BUCKETS {
        let object = format!("bucket {}", names.bucket(bucket));
        let outcome = applied.iter().find(|applied| applied.object == object).map(|applied| &applied.outcome);
        assert_eq!(outcome, Some(&Outcome::Created), "{object}");
    }
    // This server supports everything in the file except cheaper storage classes, which it reports.
    let skipped = applied.iter().filter(|applied| matches!(applied.outcome, Outcome::Skipped(_)));
    for applied in skipped {
        assert!(applied.object.ends_with("transitions to cheaper storage classes"), "{applied:?}");
    }
    assert_eq!(check(&stores, &names, &[Store::S3]).await.expect("check"), []);

    let again = apply(&stores, &names, &[Store::S3]).await.expect("apply again");
    assert!(again.iter().all(|applied| !matches!(applied.outcome, Outcome::Created | Outcome::Updated)), "{again:#?}");
    drop_namespace(&stores, &names, &[Store::S3]).await.expect("drop the namespace");
    assert_eq!(check(&stores, &names, &[Store::S3]).await.expect("check").len(), BUCKETS.len());
}

#[tokio::test]
async fn without_s3_no_server_is_contacted() {
    let names = fresh_names("bucket");
    let unreachable = Stores::local(1);
    let applied = apply(&unreachable, &names, &[Store::S3]).await.expect("no server is contacted");
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0].outcome, Outcome::Skipped("S3 is not enabled".to_owned()));
}
