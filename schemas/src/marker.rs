//! The text of a marker and of a label: names go in, what is written into a store comes out, and back.
//! Pure. A marker says that a namespace was made for runs; a label says which object of such a namespace carries it.

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::names::{Mark, Names};

/// What a marker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    sluice_run_namespace: String,
    mark: String,
    made_by: String,
    made_at: String,
}

impl Marker {
    /// The marker of a namespace, as one line of JSON; `None` where the names are not a run's.
    pub(crate) fn text(names: &Names) -> Option<String> {
        let marker = Self {
            sluice_run_namespace: names.namespace().to_owned(),
            mark: names.mark()?.as_str().to_owned(),
            made_by: concat!("sluice ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_at: Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        serde_json::to_string(&marker).ok()
    }

    /// The mark, if `text` is a marker of this namespace: one that was copied or renamed along with an object is none.
    pub(crate) fn mark(text: &str, names: &Names) -> Option<Mark> {
        let marker: Self = serde_json::from_str(text).ok()?;
        (marker.sluice_run_namespace == names.namespace()).then(|| Mark::parse(&marker.mark)).flatten()
    }
}

/// The comment of an object that a run made. It names the object, since a copy or another name keeps the comment.
/// `None` where the names are not a run's.
pub(crate) fn label(names: &Names, object: &str) -> Option<String> {
    let mark = names.mark()?.as_str();
    Some(format!("made by a run in namespace {}, mark {mark}, as {object}; the next run drops it", names.namespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_in_its_own_namespace_only() {
        let (plain, other) = (Names::new("one").unwrap(), Names::new("two").unwrap());
        let mark = Mark::new();
        let text = Marker::text(&plain.marked(mark.clone())).unwrap();
        assert_eq!(Marker::mark(&text, &plain), Some(mark));
        assert_eq!(Marker::mark(&text, &other), None);
        for none in ["", "x", "{}", r#"{"sluice_run_namespace":"one","mark":"no","made_by":"","made_at":""}"#] {
            assert_eq!(Marker::mark(none, &plain), None, "{none}");
        }
        assert_eq!(Marker::text(&plain), None);
    }

    #[test]
    fn a_label_names_its_object() {
        let names = Names::new("one").unwrap();
        assert_eq!(label(&names, "a"), None);
        let names = names.marked(Mark::parse("0123456789ab").unwrap());
        let expected = "made by a run in namespace one, mark 0123456789ab, as a; the next run drops it";
        assert_eq!(label(&names, "a").as_deref(), Some(expected));
    }
}
