//! An independent parser of column types, to check the decoder's: it maps a type's text to its [`Form`] in RowBinary and shares
//! no code with `ingest/src/decode/types.rs`.

/// Encoding of a type's values in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A fixed number of bytes and their meaning.
    Bytes(usize, Meaning),
    /// A length, then UTF-8.
    Text,
    /// A length, then a JSON object.
    Document,
    /// A byte that is 1 for `NULL`, or 0 followed by the value.
    Nullable(Box<Self>),
    /// A count, then elements.
    Array(Box<Self>),
    /// A count, then alternating keys and values.
    Map(Box<(Self, Self)>),
    /// Elements with their names.
    Tuple(Vec<(String, Self)>),
}

/// Meaning of the bytes of a fixed-size value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Two's complement.
    Signed,
    /// An unsigned number.
    Unsigned,
    /// IEEE 754.
    Float,
    /// A number whose absolute value is below ten to the power of this precision.
    Decimal(u32),
    /// Zero or one.
    Bool,
    /// Days since 1970-01-01.
    Days,
    /// Ticks since 1970-01-01, with this number of decimals of a second.
    Ticks(u32),
    /// Names of an enum and their numbers.
    EnumNames(Vec<(String, i64)>),
    /// Two little-endian halves, the more significant one first.
    Uuid,
    /// An IPv4 address as a little-endian number.
    Ipv4,
    /// An IPv6 address as bytes in network order.
    Ipv6,
    /// Text padded with zeros.
    Padded,
}

/// Parses a type; `None` if it is malformed or not supported.
pub fn parse(text: &str) -> Option<Form> {
    let mut reader = Reader(text);
    let form = reader.form()?;
    reader.0.is_empty().then_some(form)
}

struct Reader<'a>(&'a str);

/// Single-character escapes.
const ESCAPES: [(char, u8); 15] = [
    ('a', 7),
    ('b', 8),
    ('t', 9),
    ('n', 10),
    ('v', 11),
    ('f', 12),
    ('r', 13),
    ('e', 27),
    ('0', 0),
    ('\\', b'\\'),
    ('\'', b'\''),
    ('"', b'"'),
    ('`', b'`'),
    ('/', b'/'),
    ('=', b'='),
];

impl Reader<'_> {
    fn form(&mut self) -> Option<Form> {
        let name = self.word();
        Some(match name.as_str() {
            "String" => Form::Text,
            "JSON" => self.document()?,
            "LowCardinality" => self.within(Self::form)?,
            "Nullable" => Form::Nullable(Box::new(self.within(Self::form)?)),
            "Array" => Form::Array(Box::new(self.within(Self::form)?)),
            "Map" => Form::Map(Box::new(self.within(|inner| {
                let key = inner.form()?;
                inner.eat(", ")?;
                Some((key, inner.form()?))
            })?)),
            "Tuple" => Form::Tuple(self.within(|inner| inner.list(Self::member))?),
            _ => {
                let (size, meaning) = self.fixed_size(&name)?;
                Form::Bytes(size, meaning)
            }
        })
    }

    fn fixed_size(&mut self, name: &str) -> Option<(usize, Meaning)> {
        let bits = |prefix: &str| name.strip_prefix(prefix)?.parse::<usize>().ok();
        if let Some(bits) = bits("Int") {
            return Some((bits / 8, Meaning::Signed));
        }
        if let Some(bits) = bits("UInt") {
            return Some((bits / 8, Meaning::Unsigned));
        }
        Some(match name {
            "Float32" => (4, Meaning::Float),
            "Float64" => (8, Meaning::Float),
            "Bool" => (1, Meaning::Bool),
            "Date" => (2, Meaning::Days),
            "Date32" => (4, Meaning::Days),
            "UUID" => (16, Meaning::Uuid),
            "IPv4" => (4, Meaning::Ipv4),
            "IPv6" => (16, Meaning::Ipv6),
            "DateTime" => {
                if self.0.starts_with('(') {
                    self.within(|inner| inner.quoted('\''))?;
                }
                (4, Meaning::Ticks(0))
            }
            "DateTime64" => (8, Meaning::Ticks(self.within(Self::precision)?)),
            "FixedString" => (self.within(Self::number)?, Meaning::Padded),
            "Decimal" => self.within(Self::decimal)?,
            "Enum8" => (1, Meaning::EnumNames(self.within(|inner| inner.list(Self::enum_name))?)),
            "Enum16" => (2, Meaning::EnumNames(self.within(|inner| inner.list(Self::enum_name))?)),
            _ => return None,
        })
    }

    /// Parses `JSON` and ignores its arguments: they affect ClickHouse's storage, not the row.
    fn document(&mut self) -> Option<Form> {
        if self.0.starts_with('(') {
            let end = self.0.find(')')?;
            self.0 = &self.0[end + 1..];
        }
        Some(Form::Document)
    }

    fn precision(&mut self) -> Option<u32> {
        let precision = self.number()?;
        if self.0.starts_with(',') {
            self.eat(", ")?;
            self.quoted('\'')?;
        }
        Some(precision)
    }

    fn decimal(&mut self) -> Option<(usize, Meaning)> {
        let precision = self.number()?;
        self.eat(", ")?;
        let _scale: u32 = self.number()?;
        let size = [(9, 4), (18, 8), (38, 16)].iter().find(|(max_precision, _)| precision <= *max_precision)?.1;
        Some((size, Meaning::Decimal(precision)))
    }

    fn enum_name(&mut self) -> Option<(String, i64)> {
        let name = self.quoted('\'')?;
        self.eat(" = ")?;
        let sign = if self.eat("-").is_some() { -1 } else { 1 };
        Some((name, sign * self.number::<i64>()?))
    }

    /// A tuple element, with or without a name.
    fn member(&mut self) -> Option<(String, Form)> {
        let before = self.0;
        let name = if self.0.starts_with('`') { self.quoted('`')? } else { self.word() };
        if self.eat(" ").is_some() {
            return Some((name, self.form()?));
        }
        self.0 = before;
        Some((String::new(), self.form()?))
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat(", ").is_some() {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn within<T>(&mut self, inside: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.eat("(")?;
        let value = inside(self)?;
        self.eat(")")?;
        Some(value)
    }

    fn word(&mut self) -> String {
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.to_owned()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits.parse().ok()
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        self.0 = self.0.strip_prefix(quote)?;
        let mut plain = Vec::new();
        loop {
            let mark = self.0.find(['\\', quote])?;
            plain.extend_from_slice(&self.0.as_bytes()[..mark]);
            let is_end = self.0[mark..].starts_with(quote);
            self.0 = &self.0[mark + 1..];
            match self.0.chars().next() {
                Some(next) if is_end && next == quote => {
                    plain.push(u8::try_from(quote).ok()?);
                    self.0 = &self.0[1..];
                }
                _ if is_end => return String::from_utf8(plain).ok(),
                _ => self.escape(&mut plain)?,
            }
        }
    }

    /// Decodes the characters after a backslash.
    fn escape(&mut self, plain: &mut Vec<u8>) -> Option<()> {
        let named = ESCAPES.iter().find(|(name, _)| self.0.starts_with(*name));
        if let Some((_, byte)) = named {
            self.0 = &self.0[1..];
            plain.push(*byte);
        } else if let Some(rest) = self.0.strip_prefix('x') {
            plain.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
            self.0 = &rest[2..];
        } else if let Some(rest) = self.0.strip_prefix('N') {
            self.0 = rest;
        } else if !self.0.starts_with(|next: char| ('\0'..' ').contains(&next)) {
            plain.push(b'\\');
        }
        Some(())
    }

    fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }
}
