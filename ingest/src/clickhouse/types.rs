//! The ClickHouse column types that ingest can write, parsed from `system.columns.type`. An unknown type is rejected,
//! never guessed.

use super::quoting::{parse_identifier, unquote};

/// A type whose values ingest can encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Uuid,
    String,
    /// Length in bytes.
    FixedString(usize),
    Signed(Width),
    Unsigned(Width),
    Float32,
    Float64,
    Decimal(Decimal),
    Bool,
    Date,
    Date32,
    DateTime,
    /// Fractional digits of a second, 0 to 9.
    DateTime64(u8),
    /// Names and their numbers.
    Enum8(Vec<(String, i16)>),
    Enum16(Vec<(String, i16)>),
    Ipv4,
    Ipv6,
    Json,
    Nullable(Box<Self>),
    Array(Box<Self>),
    /// Type of the keys and type of the values.
    Map(Box<(Self, Self)>),
    /// Elements with their names; unnamed elements have empty names.
    Tuple(Vec<(String, Self)>),
}

/// Width of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    W8 = 1,
    W16 = 2,
    W32 = 4,
    W64 = 8,
    W128 = 16,
}

impl Width {
    /// Number of bytes.
    pub(crate) const fn bytes(self) -> usize {
        self as usize
    }
}

/// Digits of a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// Total digits, 1 to 38.
    pub(crate) precision: u8,
    /// Digits after the decimal point.
    pub(crate) scale: u8,
}

impl Type {
    /// Whether a value may be null.
    pub(crate) fn is_nullable(&self) -> bool {
        matches!(self, Self::Nullable(_))
    }

    /// Whether the type is or contains a `JSON`.
    pub(crate) fn contains_json(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Nullable(inner) | Self::Array(inner) => inner.contains_json(),
            Self::Map(column_type) => column_type.1.contains_json(),
            Self::Tuple(elements) => elements.iter().any(|(_, column_type)| column_type.contains_json()),
            _ => false,
        }
    }

    /// Whether a JSON key can be parsed as this type.
    fn is_key(&self) -> bool {
        use Type::{Date, Date32, DateTime, DateTime64, Enum8, Enum16, FixedString, Ipv4, Ipv6, Signed, String, Uuid};
        matches!(
            self,
            Uuid | String
                | FixedString(_)
                | Signed(_)
                | Self::Unsigned(_)
                | Date
                | Date32
                | DateTime
                | DateTime64(_)
                | Enum8(_)
                | Enum16(_)
                | Ipv4
                | Ipv6
        )
    }
}

/// Parses the text of a type; `None` if ingest cannot write it.
pub(crate) fn parse(text: &str) -> Option<Type> {
    let text = text.trim();
    Some(match text {
        "UUID" => Type::Uuid,
        "String" => Type::String,
        "Int8" => Type::Signed(Width::W8),
        "Int16" => Type::Signed(Width::W16),
        "Int32" => Type::Signed(Width::W32),
        "Int64" => Type::Signed(Width::W64),
        "Int128" => Type::Signed(Width::W128),
        "UInt8" => Type::Unsigned(Width::W8),
        "UInt16" => Type::Unsigned(Width::W16),
        "UInt32" => Type::Unsigned(Width::W32),
        "UInt64" => Type::Unsigned(Width::W64),
        "UInt128" => Type::Unsigned(Width::W128),
        "Float32" => Type::Float32,
        "Float64" => Type::Float64,
        "Bool" => Type::Bool,
        "Date" => Type::Date,
        "Date32" => Type::Date32,
        "DateTime" => Type::DateTime,
        "IPv4" => Type::Ipv4,
        "IPv6" => Type::Ipv6,
        "JSON" => Type::Json,
        _ => return with_arguments(text),
    })
}

fn with_arguments(text: &str) -> Option<Type> {
    let (name, arguments_text) = text.strip_suffix(')')?.split_once('(')?;
    let arguments = arguments(arguments_text)?;
    match (name, arguments.as_slice()) {
        ("LowCardinality", [inner]) => parse(inner),
        ("Nullable", [inner]) => Some(Type::Nullable(Box::new(parse(inner)?))),
        ("Array", [inner]) => Some(Type::Array(Box::new(parse(inner)?))),
        ("Map", [key, value]) => {
            let key = parse(key).filter(Type::is_key)?;
            Some(Type::Map(Box::new((key, parse(value)?))))
        }
        ("Tuple", elements) => Some(Type::Tuple(elements.iter().map(|text| element(text)).collect::<Option<_>>()?)),
        ("FixedString", [length]) => Some(Type::FixedString(length.parse().ok()?)),
        ("Decimal", [precision, scale]) => decimal(precision, scale),
        ("Enum8", words) => {
            let words: Vec<_> = words.iter().map(|word| enum_word(word)).collect::<Option<_>>()?;
            words.iter().all(|(_, number)| i8::try_from(*number).is_ok()).then_some(Type::Enum8(words))
        }
        ("Enum16", words) => Some(Type::Enum16(words.iter().map(|word| enum_word(word)).collect::<Option<_>>()?)),
        ("DateTime", [zone]) => quoted(zone).map(|_| Type::DateTime),
        ("DateTime64", [precision]) => date_time64(precision),
        ("DateTime64", [precision, zone]) => quoted(zone).and_then(|_| date_time64(precision)),
        // The parameters affect only the storage; the value is the same text.
        ("JSON", _) => Some(Type::Json),
        _ => None,
    }
}

/// Time zone in the text of a `DateTime` or `DateTime64`.
pub(crate) fn zone(text: &str) -> Option<String> {
    let (name, arguments_text) = text.trim().strip_suffix(')')?.split_once('(')?;
    if matches!(name, "DateTime" | "DateTime64") { quoted(arguments(arguments_text)?.last()?) } else { None }
}

fn decimal(precision: &str, scale: &str) -> Option<Type> {
    let decimal = Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? };
    (decimal.precision <= 38 && decimal.scale <= decimal.precision).then_some(Type::Decimal(decimal))
}

fn date_time64(precision: &str) -> Option<Type> {
    precision.parse().ok().filter(|decimals| *decimals <= 9).map(Type::DateTime64)
}

/// An element of a tuple: a type, or a name and a type.
fn element(text: &str) -> Option<(String, Type)> {
    match split(text, ' ')?.as_slice() {
        [column_type] => Some((String::new(), parse(column_type)?)),
        [name, column_type] => Some((parse_identifier(name)?, parse(column_type)?)),
        _ => None,
    }
}

/// `'word' = 1`
fn enum_word(text: &str) -> Option<(String, i16)> {
    let [word, number] = split(text, '=')?[..] else { return None };
    Some((quoted(word)?, number.parse().ok()?))
}

fn quoted(text: &str) -> Option<String> {
    unquote(text, '\'')
}

fn arguments(arguments_text: &str) -> Option<Vec<&str>> {
    split(arguments_text, ',')
}

/// Splits at separators outside all brackets and quotes; `None` if those are unbalanced.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth, mut open) = (Vec::new(), 0, 0_u32, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (open, c) {
            (Some(_), '\\') => drop(chars.next()?),
            (Some(quote), c) if c == quote => open = None,
            (None, '\'' | '`') => open = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.checked_sub(1)?,
            (None, c) if c == separator && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    (depth == 0 && open.is_none()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column_type(text: &str) -> Type {
        parse(text).unwrap_or_else(|| panic!("{text} is a type"))
    }

    #[test]
    fn reads_the_types_of_the_platforms_tables() {
        assert_eq!(column_type("LowCardinality(String)"), Type::String);
        assert_eq!(column_type("UInt32"), Type::Unsigned(Width::W32));
        assert_eq!(column_type("FixedString(3)"), Type::FixedString(3));
        assert_eq!(column_type("DateTime64(3, 'UTC')"), Type::DateTime64(3));
        assert_eq!(zone("DateTime64(3, 'UTC')").as_deref(), Some("UTC"));
        assert_eq!(zone("DateTime('Europe/Berlin')").as_deref(), Some("Europe/Berlin"));
        assert_eq!((zone("DateTime64(3)"), zone("DateTime"), zone("Enum8('a' = 1)")), (None, None, None));
        assert_eq!(column_type("LowCardinality(Nullable(String))"), Type::Nullable(Box::new(Type::String)));
    }

    #[test]
    fn reads_types_inside_types() {
        let strings = || Type::Array(Box::new(Type::String));
        assert_eq!(column_type("Array(Array(LowCardinality(String)))"), Type::Array(Box::new(strings())));
        let map = Type::Map(Box::new((Type::Uuid, strings())));
        assert_eq!(column_type("Map(UUID, Array(String))"), map);
        let money = Type::Decimal(Decimal { precision: 18, scale: 2 });
        let words = Type::Enum8(vec![("x, y".to_owned(), 1), ("`)".to_owned(), -2)]);
        let named = vec![("amount".to_owned(), money.clone()), ("the word".to_owned(), words.clone())];
        assert_eq!(
            column_type(r"Tuple(amount Decimal(18, 2), `the word` Enum8('x, y' = 1, '`)' = -2))"),
            Type::Tuple(named)
        );
        let bare = vec![(String::new(), money), (String::new(), words)];
        assert_eq!(column_type(r"Tuple(Decimal(18, 2), Enum8('x, y' = 1, '`)' = -2))"), Type::Tuple(bare));
        assert!(column_type("Array(JSON(max_dynamic_paths=8, `a.b` UInt32))").contains_json());
    }

    #[test]
    fn reads_enum_words_with_commas_and_quotes() {
        let words = vec![("a".to_owned(), 1), ("b, 'c' = 9".to_owned(), -2)];
        assert_eq!(column_type(r"Enum8('a' = 1, 'b, \'c\' = 9' = -2)"), Type::Enum8(words));
    }

    /// As ClickHouse 26.7 writes them in `system.columns`.
    #[test]
    fn enum_words_and_names_are_unescaped() {
        let words = [("line\nbreak", 1), ("a\tb\0c\\d'e", 2), ("", 3), (r"\q\%", 4), ("\u{e4}", 5)];
        let words = words.map(|(word, number)| (word.to_owned(), number)).into();
        let text = r"Enum8('line\nbreak' = 1, 'a\tb\0c\\d\'e' = 2, '' = 3, '\\q\\%' = 4, 'ä' = 5)";
        assert_eq!(column_type(text), Type::Enum8(words));
        let names = ["x`y", "z\nw", "d\"q", "a.b", r"\q"];
        let elements = names.map(|name| (name.to_owned(), Type::Bool)).into();
        assert_eq!(
            column_type(r#"Tuple(`x\`y` Bool, `z\nw` Bool, `d"q` Bool, `a.b` Bool, `\\q` Bool)"#),
            Type::Tuple(elements)
        );
        assert_eq!(parse("Enum8('\u{fffd}' = 1)"), None, "the name is not valid UTF-8 at the server");
    }

    #[test]
    fn unsupported_types_are_rejected() {
        for text in [
            "Decimal(76, 2)",
            "Decimal(4, 5)",
            "Int256",
            "DateTime64(12)",
            "Map(Float64, String)",
            "Map(String)",
            "Map(Nullable(String), String)",
            "Array(Variant(String, UInt64))",
            "AggregateFunction(sum, UInt64)",
            "Enum8('a')",
            "Enum8('a' = 1, b)",
            "Enum8('a' = 128)",
            "Enum8('a'b' = 1)",
            "Tuple(a-b String)",
            "Array(String",
            "Array(String))",
            "Tuple(a b String)",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
