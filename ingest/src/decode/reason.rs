//! The reasons why a record cannot land: codes for dead letters, metrics and logs. They never contain data.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// Why a record cannot land. The code is sent with the dead letter; it never contains data.
        // As wide as a field of a span, so that a `Result` of either is copied in whole words.
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
    /// No payload.
    Tombstone = "tombstone",
    /// Larger than `limits.record`, or the row is larger than [`super::decoder::ROW_GROWTH`] times that.
    RecordTooLarge = "record_too_large",
    /// Not UTF-8, or an unpaired escaped surrogate.
    InvalidUtf8 = "invalid_utf8",
    /// The text ends inside a value.
    TruncatedJson = "truncated_json",
    /// Not JSON.
    InvalidJson = "invalid_json",
    /// JSON, but not an object.
    NotAnObject = "not_an_object",
    /// Nested deeper than `limits.depth`.
    TooDeep = "too_deep",
    /// More keys than `limits.keys`.
    TooManyKeys = "too_many_keys",
    /// A duplicate of a field that feeds a column, of an object around such a field, or of a key in a map or tuple.
    DuplicateField = "duplicate_field",
    /// A required field, or a member of a tuple, is absent or null.
    MissingField = "missing_field",
    /// No tenant, or the nil UUID.
    MissingTenant = "missing_tenant",
    /// A value of another JSON type than the column accepts.
    WrongType = "wrong_type",
    /// A number or time outside the column's range.
    OutOfRange = "out_of_range",
    /// A decimal with more nonzero decimals than the column has.
    TooManyDecimals = "too_many_decimals",
    /// A string for a decimal column that is not a number.
    InvalidDecimal = "invalid_decimal",
    /// Not a hyphenated UUID.
    InvalidUuid = "invalid_uuid",
    /// Not an RFC 3339 time or an ISO 8601 date.
    InvalidTime = "invalid_time",
    /// Not an IP address of the column's version.
    InvalidAddress = "invalid_address",
    /// Longer than `limits.string`, or than the column.
    StringTooLong = "string_too_long",
    /// Not a name of the enum column.
    UnknownWord = "unknown_word",
}
