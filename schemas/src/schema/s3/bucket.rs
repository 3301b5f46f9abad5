//! The buckets that `s3/buckets.toml` defines, and the request bodies that set their aspects. This module performs no
//! I/O.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::json;

use super::aspect::Aspect;
use crate::error::{SchemaError, refused};
use crate::names::Names;
use crate::store::Store;

const BUCKETS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/s3/buckets.toml"));
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// Number of days for which a replaced version is kept, unless a lock keeps it longer.
const NONCURRENT_DAYS: u32 = 30;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bucket: Vec<Bucket>,
}

/// A bucket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// Documentation only.
    #[serde(rename = "purpose")]
    _purpose: String,
    encryption: Encryption,
    versioning: bool,
    /// Days for which no version can be deleted.
    pub(super) lock_days: Option<u32>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    public: bool,
}

/// The party that encrypts an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encryption {
    /// The server, under its own key.
    Server,
    /// The client, which sends the key with each object; no default is set.
    Customer,
    /// No encryption: the content is public.
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    transitions: Vec<Transition>,
    expire_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transition {
    days: u32,
    class: String,
}

/// All buckets of the namespace.
pub(super) fn buckets(names: &Names) -> Result<Vec<Bucket>, SchemaError> {
    let file: File = toml::from_str(BUCKETS).map_err(refused(Store::S3, "read buckets.toml"))?;
    Ok(file.bucket.into_iter().map(|bucket| Bucket { name: names.bucket(&bucket.name), ..bucket }).collect())
}

impl Bucket {
    /// The aspects of the bucket, in the order in which they are set.
    pub(super) fn aspects(&self) -> Vec<Aspect> {
        let aspect = |name, subresource, forms| Aspect {
            name,
            subresource,
            forms,
            only_in_best: "transitions to cheaper storage classes",
        };
        let mut aspects = Vec::new();
        if self.versioning {
            let body = document("VersioningConfiguration", "<Status>Enabled</Status>");
            aspects.push(aspect("versioning", "versioning", vec![body]));
        }
        if self.encryption == Encryption::Server {
            let rule = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>";
            aspects.push(aspect("encryption", "encryption", vec![document("ServerSideEncryptionConfiguration", rule)]));
        }
        if let Some(days) = self.lock_days {
            let retention = format!(
                "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>{days}</Days></DefaultRetention></Rule>"
            );
            aspects.push(aspect("object lock", "object-lock", vec![document("ObjectLockConfiguration", &retention)]));
        }
        if !self.rules.is_empty() {
            let mut forms = vec![self.lifecycle(true)];
            if self.rules.iter().any(|rule| !rule.transitions.is_empty()) {
                forms.push(self.lifecycle(false));
            }
            aspects.push(aspect("lifecycle", "lifecycle", forms));
        }
        if self.public {
            aspects.push(aspect("public read access", "policy", vec![self.public_policy()]));
        }
        aspects
    }

    /// The lifecycle, with or without transitions to cheaper storage classes.
    fn lifecycle(&self, transitions: bool) -> String {
        let mut rules = String::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let mut body =
                format!("<ID>rule-{n}</ID><Status>Enabled</Status><Filter><Prefix>{}</Prefix></Filter>", rule.prefix);
            for Transition { days, class } in rule.transitions.iter().filter(|_| transitions) {
                push(
                    &mut body,
                    &format!("<Transition><Days>{days}</Days><StorageClass>{class}</StorageClass></Transition>"),
                );
            }
            push(&mut body, &format!("<Expiration><Days>{}</Days></Expiration>", rule.expire_days));
            if self.versioning {
                let days = format!("<NoncurrentDays>{NONCURRENT_DAYS}</NoncurrentDays>");
                push(&mut body, &format!("<NoncurrentVersionExpiration>{days}</NoncurrentVersionExpiration>"));
            }
            push(&mut rules, &format!("<Rule>{body}</Rule>"));
        }
        document("LifecycleConfiguration", &rules)
    }

    fn public_policy(&self) -> String {
        let statement = json!({
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": format!("arn:aws:s3:::{}/*", self.name),
        });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    }
}

fn push(text: &mut String, more: &str) {
    write!(text, "{more}").expect("writing to a String cannot fail");
}

fn document(root: &str, body: &str) -> String {
    format!(r#"<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="{NAMESPACE}">{body}</{root}>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_buckets_are_stated() {
        let buckets = buckets(&Names::new("t_1").unwrap()).unwrap();
        let listed: Vec<_> = buckets.iter().map(|bucket| bucket.name.as_str()).collect();
        let expected = [
            "t-1-customer-documents",
            "t-1-audio-recordings",
            "t-1-email-attachments",
            "t-1-templates",
            "t-1-backups",
            "t-1-archive",
            "t-1-snapshots",
        ];
        assert_eq!(listed, expected);
    }

    #[test]
    fn a_locked_bucket_states_all_its_aspects_and_a_lesser_lifecycle() {
        let documents = &buckets(&Names::platform()).unwrap()[0];
        let aspects = documents.aspects();
        let stated: Vec<_> = aspects.iter().map(|aspect| (aspect.name, aspect.forms.len())).collect();
        assert_eq!(stated, [("versioning", 1), ("encryption", 1), ("object lock", 1), ("lifecycle", 2)]);
        assert!(aspects[3].forms[0].contains("<StorageClass>GLACIER</StorageClass>"));
        assert!(!aspects[3].forms[1].contains("StorageClass"));
    }

    #[test]
    fn only_templates_are_public() {
        let buckets = buckets(&Names::platform()).unwrap();
        let public: Vec<_> = buckets.iter().filter(|bucket| bucket.public).map(|bucket| &bucket.name).collect();
        assert_eq!(public, ["templates"]);
    }
}
