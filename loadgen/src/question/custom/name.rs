//! The name of a question of a scenario's own, with the store that answers. Names are kept as long as the process runs, so that a
//! question is as cheap to copy as one of Sluice's own; a process reads only a few.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Mutex;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluice_schemas::concurrency::lock;

use crate::question::Store;

/// A question of a scenario's own. In reports it is written `STORE/NAME`, such as `postgres/open_invoices`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Custom {
    store: Store,
    name: &'static str,
}

impl Custom {
    /// The question of that name, which that store answers.
    pub fn new(store: Store, name: &str) -> Self {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut names = lock(&NAMES);
        let name = names.get(name).copied().unwrap_or_else(|| {
            let name: &'static str = Box::leak(name.into());
            names.insert(name);
            name
        });
        Self { store, name }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The store that answers.
    pub fn store(self) -> Store {
        self.store
    }
}

impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}", self.store.as_str(), self.name))
    }
}

impl<'de> Deserialize<'de> for Custom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('/').and_then(|(store, name)| Some(Self::new(Store::from_name(store)?, name)));
        parsed.ok_or_else(|| D::Error::custom(format!("unknown question {text:?}; expected STORE/NAME")))
    }
}

impl JsonSchema for Custom {
    fn schema_name() -> Cow<'static, str> {
        "Custom".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A question of the scenario's own, as STORE/NAME.",
            "pattern": "^[a-z]+/[a-z0-9_-]+$",
        })
    }
}
