//! One aspect of a bucket, such as its lifecycle: the acceptable forms, best first, and how a server's response
//! compares with them. This module performs no I/O.

use super::xml;
use crate::schema::drift::{ABSENT, Drift};
use crate::store::Store;

/// A configuration that is read and set as a subresource of a bucket.
#[derive(Debug)]
pub(super) struct Aspect {
    /// Name in messages.
    pub(super) name: &'static str,
    /// The subresource in the query string.
    pub(super) subresource: &'static str,
    /// Bodies to set, best first; a lesser one omits what some servers do not support.
    pub(super) forms: Vec<String>,
    /// The features that a lesser form omits.
    pub(super) only_in_best: &'static str,
}

/// The result of comparing a server's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitness {
    /// The response is the best form.
    Best,
    /// The response is one of the other forms.
    Lesser,
    /// The response is none of the forms.
    Differs,
}

impl Aspect {
    pub(super) fn fitness(&self, found: &str) -> Fitness {
        let found = normalize(found);
        match self.forms.iter().position(|form| normalize(form) == found) {
            Some(0) => Fitness::Best,
            Some(_) => Fitness::Lesser,
            None => Fitness::Differs,
        }
    }

    /// The difference, unless the server has one of the forms.
    pub(super) fn drift(&self, bucket: &str, found: &str) -> Option<Drift> {
        (self.fitness(found) == Fitness::Differs).then(|| {
            let expected = self.forms.first().map(|form| normalize(form)).unwrap_or_default();
            Drift::new(Store::S3, format!("{bucket} {}", self.name), expected, normalize(found))
        })
    }
}

/// The content of a body, without a server's ordering and additions.
fn normalize(body: &str) -> String {
    if let Ok(policy) = serde_json::from_str::<serde_json::Value>(body) {
        return normalize_policy(&policy);
    }
    let mut parts: Vec<_> = xml::parts(body).into_iter().map(normalize_part).filter(|part| !part.is_empty()).collect();
    parts.sort();
    if parts.is_empty() { ABSENT.to_owned() } else { parts.join("; ") }
}

/// Renders a rule without what servers add, with its elements sorted by name. Elements of the same name keep their order,
/// because the nth of one name belongs to the nth of another.
fn normalize_part(mut texts: Vec<(String, String)>) -> String {
    texts.retain(|(path, _)| !path.ends_with("/ID") && !path.ends_with("/BucketKeyEnabled"));
    texts.sort_by(|(one, _), (other, _)| one.cmp(other));
    texts.iter().map(|(path, text)| format!("{path}={text}")).collect::<Vec<_>>().join(", ")
}

/// Effect, principal, actions and resources of a policy; a server may write a single value as a list.
fn normalize_policy(policy: &serde_json::Value) -> String {
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    let statements = statements.iter().map(|statement| {
        let parts = ["Effect", "Principal", "Action", "Resource"].map(|part| statement[part].to_string());
        parts.join(" ").replace(['[', ']', '{', '}', '"'], "").replace("AWS:", "")
    });
    statements.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifecycle() -> Aspect {
        let best = "<L><Rule><Days>90</Days><Class>COLD</Class></Rule></L>".to_owned();
        let lesser = "<L><Rule><Days>90</Days></Rule></L>".to_owned();
        Aspect { name: "lifecycle", subresource: "lifecycle", forms: vec![best, lesser], only_in_best: "transitions" }
    }

    #[test]
    fn a_servers_order_and_additions_are_ignored_and_values_are_compared() {
        let stored = "<L><Rule><Class>COLD</Class><Days>90</Days><ID>x</ID><Filter/></Rule></L>";
        assert_eq!(lifecycle().fitness(stored), Fitness::Best);
        assert_eq!(lifecycle().fitness("<L><Rule><Days>90</Days></Rule></L>"), Fitness::Lesser);
        assert_eq!(lifecycle().drift("bucket b", stored), None);
        let drift = lifecycle().drift("bucket b", "<L><Rule><Days>9</Days></Rule></L>").unwrap();
        assert_eq!((drift.object.as_str(), drift.found.as_str()), ("bucket b lifecycle", "Rule/Days=9"));
        assert_eq!(lifecycle().drift("bucket b", "").unwrap().found, "nothing");
    }

    #[test]
    fn rules_with_swapped_days_differ() {
        let rules = |one: u32, other: u32| {
            format!("<L><Rule><P>a</P><Days>{one}</Days></Rule><Rule><P>b</P><Days>{other}</Days></Rule></L>")
        };
        assert_ne!(normalize(&rules(90, 365)), normalize(&rules(365, 90)));
    }

    #[test]
    fn a_policy_is_compared_by_what_it_allows() {
        let ours = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"r"}]}"#;
        let stored = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["r"]}]}"#;
        assert_eq!(normalize(ours), normalize(stored));
        assert_ne!(normalize(ours), normalize(&stored.replace("GetObject", "PutObject")));
    }
}
