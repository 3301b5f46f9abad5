//! One strict pass over a JSON text (RFC 8259): a cursor that validates everything and builds nothing.
//! It does not allocate, never recurses deeper than the given limit, and never interprets a value (see
//! [`super::value`]).
//!
//! Why not a library: lazy parsers do not validate what they skip, and a column may keep an object's original text;
//! duplicates, depth and keys are checked in the same pass.

use super::key::Key;
use super::marks::Marks;
use super::reason::Reason;

/// The kind of a value and the position of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) kind: Kind,
    /// First byte; for a string, the byte after its opening quote.
    pub(crate) start: u32,
    /// Byte after the last one; for a string, its closing quote.
    pub(crate) end: u32,
}

/// Kind of a JSON value. As wide as the numbers next to it, so that a span is copied in whole words.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A string without escapes.
    Plain,
    /// A string with at least one `\`.
    Escaped,
    Object,
    Array,
}

/// The text of a span.
pub(crate) fn slice(text: &str, span: Span) -> &str {
    &text[span.start as usize..span.end as usize]
}

/// Whether a text is one number and nothing else.
pub(crate) fn is_number(text: &str) -> bool {
    let value = Cursor::new(text, 0, 0).value();
    value.is_ok_and(|span| span.kind == Kind::Number && slice(text, span) == text)
}

/// A cursor over a JSON text.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    marks: Marks,
    /// Number of levels that may still be opened.
    depth_left: u32,
    /// Number of object keys that may still be read.
    keys_left: u32,
}

type Scan<T> = Result<T, Reason>;

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, depth: u32, keys: u32) -> Self {
        Self { bytes: text.as_bytes(), at: 0, marks: Marks::default(), depth_left: depth, keys_left: keys }
    }

    /// A cursor over a value inside a text that has already been validated, so without limits.
    pub(crate) fn within(text: &'a str, span: Span) -> Self {
        Self { at: span.start as usize, ..Self::new(text, u32::MAX, u32::MAX) }
    }

    /// The next byte after white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Scan<u8> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte > b' ' => Ok(byte),
            _ => self.skip_white_space(),
        }
    }

    #[cold]
    fn skip_white_space(&mut self) -> Scan<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().ok_or(Reason::TruncatedJson)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Scan<()> {
        if self.peek()? != byte {
            return Err(Reason::InvalidJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Opens an object or array.
    fn open(&mut self, byte: u8) -> Scan<()> {
        self.expect(byte)?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Reason::TooDeep)?;
        Ok(())
    }

    /// Reads an object; `member` is called before each key and must consume the key and its value.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self) -> Scan<()>) -> Scan<Span> {
        let start = self.value_start()?;
        self.open(b'{')?;
        if self.peek()? != b'}' {
            loop {
                self.keys_left = self.keys_left.checked_sub(1).ok_or(Reason::TooManyKeys)?;
                member(self)?;
                if !self.has_next(b'}')? {
                    break;
                }
            }
        }
        Ok(self.close(Kind::Object, start))
    }

    /// Reads a key and its colon.
    pub(crate) fn key(&mut self) -> Scan<Span> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Consumes `key` with its colon if it comes next exactly as producers write it; returns whether it did.
    #[inline]
    pub(crate) fn skip_key(&mut self, key: &Key) -> Scan<bool> {
        self.peek()?;
        let is_here = key.is_prefix_of(&self.bytes[self.at..]);
        self.at += if is_here { key.len() } else { 0 };
        Ok(is_here)
    }

    /// Reads an array; `element` is called before each element and must consume it.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Scan<()>) -> Scan<Span> {
        let start = self.value_start()?;
        self.open(b'[')?;
        if self.peek()? != b']' {
            loop {
                element(self)?;
                if !self.has_next(b']')? {
                    break;
                }
            }
        }
        Ok(self.close(Kind::Array, start))
    }

    /// Consumes a comma and returns whether it did; otherwise the closing byte must come next.
    #[inline]
    fn has_next(&mut self, closing: u8) -> Scan<bool> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            byte if byte == closing => Ok(false),
            _ => Err(Reason::InvalidJson),
        }
    }

    fn close(&mut self, kind: Kind, start: usize) -> Span {
        self.at += 1;
        self.depth_left += 1;
        self.span(kind, start)
    }

    fn value_start(&mut self) -> Scan<usize> {
        self.peek()?;
        Ok(self.at)
    }

    #[expect(clippy::cast_possible_truncation, reason = "`Settings::check` keeps records below 4 GiB")]
    #[inline]
    fn span(&self, kind: Kind, start: usize) -> Span {
        Span { kind, start: start as u32, end: self.at as u32 }
    }

    /// Reads any value.
    #[expect(clippy::inline_always, reason = "a call costs about a twentieth of a record's decoding time")]
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Scan<Span> {
        if self.peek()? == b'"' { self.string() } else { self.non_string() }
    }

    fn non_string(&mut self) -> Scan<Span> {
        match self.peek()? {
            b'{' => self.object(|cursor| cursor.key().and_then(|_| cursor.value()).map(drop)),
            b'[' => self.array(|cursor| cursor.value().map(drop)),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true", Kind::True),
            b'f' => self.literal(b"false", Kind::False),
            b'n' => self.literal(b"null", Kind::Null),
            _ => Err(Reason::InvalidJson),
        }
    }

    fn literal(&mut self, literal: &[u8], kind: Kind) -> Scan<Span> {
        let start = self.at;
        let remainder = &self.bytes[start..];
        if remainder.starts_with(literal) {
            self.at += literal.len();
            return Ok(self.span(kind, start));
        }
        Err(if literal.starts_with(remainder) { Reason::TruncatedJson } else { Reason::InvalidJson })
    }

    /// Reads a string; the span excludes its quotes.
    #[expect(clippy::inline_always, reason = "a call costs about a twentieth of a record's decoding time")]
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Scan<Span> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = self.marks.next(self.bytes, start);
        let kind = if self.bytes.get(self.at) == Some(&b'"') { Kind::Plain } else { self.escapes()? };
        let span = self.span(kind, start);
        self.at += 1;
        Ok(span)
    }

    /// Reads the remainder of a string that has a mark before its end.
    #[cold]
    fn escapes(&mut self) -> Scan<Kind> {
        while self.bytes.get(self.at) != Some(&b'"') {
            self.escape()?;
            self.at = self.marks.next(self.bytes, self.at);
        }
        Ok(Kind::Escaped)
    }

    /// Reads an escape, the only valid mark inside a string.
    fn escape(&mut self) -> Scan<()> {
        match self.bytes.get(self.at) {
            Some(b'\\') => {}
            Some(_) => return Err(Reason::InvalidJson),
            None => return Err(Reason::TruncatedJson),
        }
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6).ok_or(Reason::TruncatedJson)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Reason::InvalidJson);
                }
                self.at += 6;
            }
            Some(_) => return Err(Reason::InvalidJson),
            None => return Err(Reason::TruncatedJson),
        }
        Ok(())
    }

    fn number(&mut self) -> Scan<Span> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.span(Kind::Number, start))
    }

    fn digits(&mut self) -> Scan<()> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match (count, self.at == self.bytes.len()) {
            (0, true) => Err(Reason::TruncatedJson),
            (0, false) => Err(Reason::InvalidJson),
            _ => Ok(()),
        }
    }

    /// Checks that only white space remains.
    pub(crate) fn end(&mut self) -> Scan<()> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(Reason::InvalidJson),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str) -> Scan<Span> {
        let mut cursor = Cursor::new(text, 32, 512);
        let span = cursor.value()?;
        cursor.end()?;
        Ok(span)
    }

    #[test]
    fn a_text_cut_short_is_truncated_rather_than_invalid() {
        let whole = r#"{"a": [1.5e-3, true, null, "x\u00e9y"], "b": {"c": "d"}}"#;
        assert_eq!(scan(whole).unwrap().kind, Kind::Object);
        for end in 0..whole.len() {
            assert_eq!(scan(&whole[..end]), Err(Reason::TruncatedJson), "{}", &whole[..end]);
        }
    }

    #[test]
    fn text_outside_the_grammar_is_invalid() {
        for text in [
            "{,}",
            "[1,]",
            "{\"a\" 1}",
            "01",
            "1.",
            "1.x",
            "+1",
            "tru3",
            "\"\\x\"",
            "\"\\u00g0\"",
            "\"\n\"",
            "{} {}",
            "NaN",
        ] {
            assert!(scan(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_and_keys_are_bounded() {
        assert_eq!(scan(&"[".repeat(1_000_000)), Err(Reason::TooDeep));
        assert!(scan(&format!("{}{}", "[".repeat(32), "]".repeat(32))).is_ok());
        let keys: Vec<_> = (0..513).map(|n| format!("\"k{n}\":0")).collect();
        assert_eq!(scan(&format!("{{{}}}", keys.join(","))), Err(Reason::TooManyKeys));
    }

    proptest! {
        #[test]
        fn accepts_exactly_what_serde_json_accepts(text in r#"[\[\]{}:,"\\ua0-9eE.+\- tfn]{0,24}"#) {
            let reference = serde_json::from_str::<&serde_json::value::RawValue>(&text);
            prop_assert_eq!(scan(&text).is_ok(), reference.is_ok(), "{}", text);
        }

    }
}
