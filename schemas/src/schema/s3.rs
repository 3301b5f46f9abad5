//! S3: the buckets of `s3/buckets.toml` with their policies, where S3 is enabled. Speaks the S3 API, not one vendor's;
//! what a server refuses as unknown to it is skipped and said.

mod aspect;
mod bucket;
pub(crate) mod run;
mod server;
mod xml;

use self::aspect::{Aspect, Fitness};
use self::bucket::{Bucket, buckets};
use self::server::Server;
use crate::apply::{Applied, Outcome};
use crate::check::Drift;
use crate::error::SchemaError;
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

/// Applies the buckets; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<Applied>, SchemaError> {
    if !stores.s3.enabled {
        return Ok(vec![Applied::new(Store::S3, "buckets", Outcome::Skipped("S3 is not enabled".to_owned()))]);
    }
    let server = Server::new(stores)?;
    let mut applied = Vec::new();
    for bucket in buckets(names)? {
        applied.extend(apply_bucket(&server, &bucket).await?);
    }
    Ok(applied)
}

async fn apply_bucket(server: &Server, bucket: &Bucket) -> Result<Vec<Applied>, SchemaError> {
    let what = format!("bucket {}", bucket.name);
    let mut outcome = Outcome::Unchanged;
    if !server.has_bucket(&bucket.name).await? {
        server.create_bucket(&bucket.name, bucket.lock_days.is_some()).await?;
        outcome = Outcome::Created;
    }
    let mut skipped = Vec::new();
    for aspect in bucket.aspects() {
        let (changed, lacking) = apply_aspect(server, bucket, &aspect).await?;
        if changed && outcome == Outcome::Unchanged {
            outcome = Outcome::Updated;
        }
        let lacking = lacking.map(|(what_not, reason)| (format!("{what} {what_not}"), Outcome::Skipped(reason)));
        skipped.extend(lacking.map(|(what_not, outcome)| Applied::new(Store::S3, what_not, outcome)));
    }
    skipped.insert(0, Applied::new(Store::S3, what, outcome));
    Ok(skipped)
}

/// What could not be had, and why.
type Lacking = Option<(&'static str, String)>;

/// Offers the forms of an aspect, best first, until the server takes one or has it. Returns whether that changed something.
async fn apply_aspect(server: &Server, bucket: &Bucket, aspect: &Aspect) -> Result<(bool, Lacking), SchemaError> {
    let fitness = aspect.fitness(&server.get(&bucket.name, aspect).await?);
    if fitness == Fitness::Best {
        return Ok((false, None));
    }
    let mut lacking = None;
    for form in &aspect.forms {
        // With a lesser form in place only a better one is worth asking for: the server may have learnt it since.
        if lacking.is_some() && fitness == Fitness::Lesser {
            break;
        }
        match server.put(&bucket.name, aspect, form).await? {
            Ok(()) => return Ok((true, lacking)),
            Err(reason) if aspect.forms.len() > 1 && lacking.is_none() => lacking = Some((aspect.left_out, reason)),
            Err(reason) => lacking = Some((aspect.what, reason)),
        }
    }
    Ok((false, lacking))
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    if !stores.s3.enabled {
        return Ok(Vec::new());
    }
    let server = Server::new(stores)?;
    let mut drift = Vec::new();
    for bucket in buckets(names)? {
        let object = format!("bucket {}", bucket.name);
        if server.has_bucket(&bucket.name).await? {
            for aspect in bucket.aspects() {
                let found = server.get(&bucket.name, &aspect).await?;
                drift.extend(aspect.drift(&object, &found));
            }
        } else {
            drift.push(Drift { store: Store::S3, object, expected: "there".to_owned(), found: "nothing".to_owned() });
        }
    }
    Ok(drift)
}

/// Deletes the namespace's buckets with everything in them.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    if !stores.s3.enabled {
        return Ok(());
    }
    let server = Server::new(stores)?;
    for bucket in buckets(names)? {
        if server.has_bucket(&bucket.name).await? {
            server.empty_bucket(&bucket.name).await?;
            server.delete_bucket(&bucket.name).await?;
        }
    }
    Ok(())
}
