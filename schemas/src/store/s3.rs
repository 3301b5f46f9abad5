//! S3: not yet.
use crate::apply::{Applied, Outcome};
use crate::check::Drift;
use crate::error::SchemaError;
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

pub(crate) async fn apply(_: &Stores, _: &Names) -> Result<Vec<Applied>, SchemaError> {
    Ok(vec![Applied::new(Store::S3, "buckets", Outcome::Skipped("S3 is not enabled".to_owned()))])
}
pub(crate) async fn check(_: &Stores, _: &Names) -> Result<Vec<Drift>, SchemaError> {
    Ok(Vec::new())
}
pub(crate) async fn drop_namespace(_: &Stores, _: &Names) -> Result<(), SchemaError> {
    Ok(())
}
