//! The text of markers and labels. A marker records that a namespace was created for runs, and a label records the same
//! for one object. This module performs no I/O. The text is stored: changing it makes existing objects foreign.

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::names::{Mark, Names};

/// The content of a marker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    sluice_run_namespace: String,
    mark: String,
    made_by: String,
    made_at: String,
}

impl Marker {
    /// The marker of a namespace, as one line of JSON; `None` if the names have no mark.
    pub(crate) fn encode(names: &Names) -> Option<String> {
        let marker = Self {
            sluice_run_namespace: names.namespace().to_owned(),
            mark: names.mark()?.as_str().to_owned(),
            made_by: concat!("sluice ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_at: Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        serde_json::to_string(&marker).ok()
    }

    /// The mark, if `text` is a marker of this very namespace; a marker copied or renamed with an object does not
    /// count.
    pub(crate) fn decode(text: &str, names: &Names) -> Option<Mark> {
        let marker: Self = serde_json::from_str(text).ok()?;
        (marker.sluice_run_namespace == names.namespace()).then(|| Mark::parse(&marker.mark)).flatten()
    }
}

/// The comment of an object that a run created. It contains the object's name, since a copied or renamed object keeps
/// its comment. `None` if the names have no mark.
pub(crate) fn label(names: &Names, object: &str) -> Option<String> {
    let mark = names.mark()?.as_str();
    Some(format!("made by a run in namespace {}, mark {mark}, as {object}; the next run drops it", names.namespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_decoded_in_its_own_namespace_only() {
        let (plain, other) = (Names::new("one").unwrap(), Names::new("two").unwrap());
        let mark = Mark::new();
        let text = Marker::encode(&plain.with_mark(mark.clone())).unwrap();
        assert_eq!(Marker::decode(&text, &plain), Some(mark));
        assert_eq!(Marker::decode(&text, &other), None);
        for none in ["", "x", "{}", r#"{"sluice_run_namespace":"one","mark":"no","made_by":"","made_at":""}"#] {
            assert_eq!(Marker::decode(none, &plain), None, "{none}");
        }
        assert_eq!(Marker::encode(&plain), None);
    }

    #[test]
    fn a_label_contains_its_object() {
        let names = Names::new("one").unwrap();
        assert_eq!(label(&names, "a"), None);
        let names = names.with_mark(Mark::parse("0123456789ab").unwrap());
        let expected = "made by a run in namespace one, mark 0123456789ab, as a; the next run drops it";
        assert_eq!(label(&names, "a").as_deref(), Some(expected));
    }
}
