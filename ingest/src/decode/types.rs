//! ClickHouse column types as far as ingest can write them.
//! The text of `system.columns.type` goes in, a [`Type`] comes out; what is not known is refused, never guessed.

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
    Bool,
    Date,
    DateTime,
    /// Decimals of a second, 0 to 9.
    DateTime64(u8),
    /// Words and their numbers.
    Enum8(Vec<(String, i16)>),
    Enum16(Vec<(String, i16)>),
}

/// Width of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    W8 = 1,
    W16 = 2,
    W32 = 4,
    W64 = 8,
}

/// A type with what stands around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) of: Type,
    pub(crate) nullable: bool,
    /// Time zone of a `DateTime`, where the column names one.
    pub(crate) zone: Option<String>,
}

/// Reads the text of a type; `None` for one that ingest cannot write.
pub(crate) fn parse(text: &str) -> Option<Declared> {
    let text = text.trim();
    if let Some(inner) = arguments(text, "LowCardinality") {
        return parse(inner);
    }
    if let Some(inner) = arguments(text, "Nullable") {
        return Some(Declared { nullable: true, ..parse(inner)? });
    }
    let (of, zone) = plain(text)?;
    Some(Declared { of, nullable: false, zone })
}

fn plain(text: &str) -> Option<(Type, Option<String>)> {
    let of = match text {
        "UUID" => Type::Uuid,
        "String" => Type::String,
        "Int8" => Type::Signed(Width::W8),
        "Int16" => Type::Signed(Width::W16),
        "Int32" => Type::Signed(Width::W32),
        "Int64" => Type::Signed(Width::W64),
        "UInt8" => Type::Unsigned(Width::W8),
        "UInt16" => Type::Unsigned(Width::W16),
        "UInt32" => Type::Unsigned(Width::W32),
        "UInt64" => Type::Unsigned(Width::W64),
        "Float32" => Type::Float32,
        "Float64" => Type::Float64,
        "Bool" => Type::Bool,
        "Date" => Type::Date,
        "DateTime" => Type::DateTime,
        _ => return with_arguments(text),
    };
    Some((of, None))
}

fn with_arguments(text: &str) -> Option<(Type, Option<String>)> {
    if let Some(length) = arguments(text, "FixedString") {
        return Some((Type::FixedString(length.parse().ok()?), None));
    }
    if let Some(words) = arguments(text, "Enum8") {
        return Some((Type::Enum8(enum_words(words)?), None));
    }
    if let Some(words) = arguments(text, "Enum16") {
        return Some((Type::Enum16(enum_words(words)?), None));
    }
    if let Some(zone) = arguments(text, "DateTime") {
        return Some((Type::DateTime, Some(quoted(zone)?)));
    }
    let inner = arguments(text, "DateTime64")?;
    let (precision, zone) = match inner.split_once(',') {
        Some((precision, zone)) => (precision, Some(quoted(zone.trim())?)),
        None => (inner, None),
    };
    let precision = precision.parse().ok().filter(|p| *p <= 9)?;
    Some((Type::DateTime64(precision), zone))
}

/// What stands between the brackets of `name(...)`.
fn arguments<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

fn quoted(text: &str) -> Option<String> {
    Some(text.strip_prefix('\'')?.strip_suffix('\'')?.to_owned())
}

/// Reads `'word' = 1, 'other' = 2`, in which a word may hold commas and escaped quotes.
fn enum_words(mut text: &str) -> Option<Vec<(String, i16)>> {
    let mut words = Vec::new();
    loop {
        let (word, rest) = enum_word(text.trim_start().strip_prefix('\'')?)?;
        let rest = rest.trim_start().strip_prefix('=')?;
        let (number, rest) = rest.split_once(',').map_or((rest, None), |(number, rest)| (number, Some(rest)));
        words.push((word, number.trim().parse().ok()?));
        match rest {
            Some(rest) => text = rest,
            None => return Some(words),
        }
    }
}

fn enum_word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((word, &text[at + 1..])),
            '\\' => word.push(chars.next()?.1),
            c => word.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Type {
        parse(text).unwrap().of
    }

    #[test]
    fn reads_the_types_of_the_platforms_tables() {
        assert_eq!(of("LowCardinality(String)"), Type::String);
        assert_eq!(of("UInt32"), Type::Unsigned(Width::W32));
        assert_eq!(of("FixedString(3)"), Type::FixedString(3));
        let time = parse("DateTime64(3, 'UTC')").unwrap();
        assert_eq!((time.of, time.zone.as_deref()), (Type::DateTime64(3), Some("UTC")));
        let nullable = parse("LowCardinality(Nullable(String))").unwrap();
        assert_eq!((nullable.of, nullable.nullable), (Type::String, true));
    }

    #[test]
    fn reads_enum_words_with_commas_and_quotes() {
        let words = vec![("a".to_owned(), 1), ("b, 'c' = 9".to_owned(), -2)];
        assert_eq!(of(r"Enum8('a' = 1, 'b, \'c\' = 9' = -2)"), Type::Enum8(words));
    }

    #[test]
    fn does_not_guess() {
        for text in
            ["Decimal(18, 2)", "Array(String)", "DateTime64(12)", "Map(String, String)", "JSON", "Enum8('a')", ""]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
