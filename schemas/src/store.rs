//! The stores of the platform by name. Holds no behavior and no address.

/// A store of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// Customers, campaigns and communications.
    Postgres,
    /// The topics.
    Kafka,
    /// Events, metrics and interactions.
    ClickHouse,
    /// Searchable text.
    Elasticsearch,
    /// Cache and state.
    Redis,
    /// Files.
    S3,
}

impl Store {
    /// All of them, in the order of reports.
    pub const ALL: &'static [Self] =
        &[Self::Postgres, Self::Kafka, Self::ClickHouse, Self::Elasticsearch, Self::Redis, Self::S3];

    /// The name that people use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Kafka => "Kafka",
            Self::ClickHouse => "ClickHouse",
            Self::Elasticsearch => "Elasticsearch",
            Self::Redis => "Redis",
            Self::S3 => "S3",
        }
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Store {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Store {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let store = Self::ALL.iter().copied().find(|store| store.as_str() == name);
        store.ok_or_else(|| serde::de::Error::custom(format_args!("there is no store `{name}`")))
    }
}
