//! S3: the buckets of `s3/buckets.toml` with their policies, if S3 is enabled. Uses the S3 API and no vendor's
//! extensions; what a server does not support is skipped and reported.

mod aspect;
mod bucket;
pub(crate) mod run;
mod server;
mod xml;

use self::aspect::{Aspect, Fitness};
use self::bucket::{Bucket, buckets};
use self::server::{Server, Support};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

/// Applies the buckets; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    if !stores.s3.enabled {
        return Ok(vec![AppliedObject::skipped(Store::S3, "buckets", "S3 is not enabled")]);
    }
    let server = Server::new(stores)?;
    let mut applied = Vec::new();
    for bucket in buckets(names)? {
        applied.extend(apply_bucket(&server, &bucket).await?);
    }
    Ok(applied)
}

async fn apply_bucket(server: &Server, bucket: &Bucket) -> Result<Vec<AppliedObject>, SchemaError> {
    let object = format!("bucket {}", bucket.name);
    let mut outcome = Outcome::Unchanged;
    if !server.has_bucket(&bucket.name).await? {
        server.create_bucket(&bucket.name, bucket.lock_days.is_some()).await?;
        outcome = Outcome::Created;
    }
    let mut skipped = Vec::new();
    for aspect in bucket.aspects() {
        let (changed, unsupported) = apply_aspect(server, bucket, &aspect).await?;
        if changed && outcome == Outcome::Unchanged {
            outcome = Outcome::Updated;
        }
        let unsupported = unsupported.map(|(part, reason)| (format!("{object} {part}"), reason));
        skipped.extend(unsupported.map(|(part, reason)| AppliedObject::skipped(Store::S3, part, reason)));
    }
    skipped.insert(0, AppliedObject::new(Store::S3, object, outcome));
    Ok(skipped)
}

/// What the server does not support, and its reason.
type Unsupported = Option<(&'static str, String)>;

/// Tries the forms of an aspect, best first, until the server accepts one or already has it. Returns whether it
/// changed.
async fn apply_aspect(server: &Server, bucket: &Bucket, aspect: &Aspect) -> Result<(bool, Unsupported), SchemaError> {
    let fitness = aspect.fitness(&server.get(&bucket.name, aspect).await?);
    if fitness == Fitness::Best {
        return Ok((false, None));
    }
    let mut unsupported = None;
    for form in &aspect.forms {
        // With a lesser form in place, only the best one is tried: the server may support it by now.
        if unsupported.is_some() && fitness == Fitness::Lesser {
            break;
        }
        match server.put(&bucket.name, aspect, form).await? {
            Support::Supported => return Ok((true, unsupported)),
            Support::Unsupported(reason) => {
                let is_best_of_several = aspect.forms.len() > 1 && unsupported.is_none();
                let part = if is_best_of_several { aspect.only_in_best } else { aspect.name };
                unsupported = Some((part, reason));
            }
        }
    }
    Ok((false, unsupported))
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
            drift.push(Drift::missing(Store::S3, object));
        }
    }
    Ok(drift)
}

/// Deletes the namespace's buckets with their contents.
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
