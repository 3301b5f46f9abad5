//! Why a record cannot land: the codes that travel in dead letters, metrics and logs. They never hold data.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// Why a record cannot land. The code travels in the dead letter; it never holds data.
        // As wide as a part of a span: a `Result` of either is then copied in whole words.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name),+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code in dead letters, metrics and logs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }
        }
    };
}

reasons! {
    /// No payload at all.
    Tombstone = "tombstone",
    /// Larger than `limits.record`, or its row than [`super::decoder::ROW_GROWTH`] times that.
    RecordTooLarge = "record_too_large",
    /// Not UTF-8, or an escaped surrogate without its pair.
    InvalidUtf8 = "invalid_utf8",
    /// The text ends inside a value.
    TruncatedJson = "truncated_json",
    /// Not JSON.
    InvalidJson = "invalid_json",
    /// JSON, but no object.
    NotAnObject = "not_an_object",
    /// Nested deeper than `limits.depth`.
    TooDeep = "too_deep",
    /// More keys than `limits.keys`.
    TooManyKeys = "too_many_keys",
    /// A field that feeds a column stands there twice, or an object around one, or a key in a map or tuple.
    DuplicateField = "duplicate_field",
    /// A field without which the row is not whole is absent or null, or a member of a tuple.
    MissingField = "missing_field",
    /// No tenant, or the nil UUID.
    MissingTenant = "missing_tenant",
    /// A value of another JSON type than the column takes.
    WrongType = "wrong_type",
    /// A number or time beyond what the column holds.
    OutOfRange = "out_of_range",
    /// A decimal with more decimals than the column, other than zeros.
    TooManyDecimals = "too_many_decimals",
    /// No number in a string that should hold a decimal.
    InvalidDecimal = "invalid_decimal",
    /// No hyphenated UUID.
    InvalidUuid = "invalid_uuid",
    /// No RFC 3339 time, or no ISO 8601 date.
    InvalidTime = "invalid_time",
    /// No IP address of the column's version.
    InvalidAddress = "invalid_address",
    /// Longer than `limits.string`, or than the column.
    StringTooLong = "string_too_long",
    /// Not among the words of an enum column.
    UnknownWord = "unknown_word",
}
