//! Quoted text in ClickHouse's SQL and type names: string literals and identifiers.
//! Only this module reads ClickHouse's escapes, and only `sluice_schemas::sql` writes them. Text that ClickHouse itself
//! could not read is rejected, never guessed.
//!
//! The escapes are those of ClickHouse's own reader: `\a \b \e \f \n \r \t \v \0`, `\xHH`, `\N` for the empty string,
//! and a backslash before `\ ' " `` ` `` / =` or a control character stands for that character. Before any other
//! character a backslash is kept. A quote inside quotes is escaped or doubled.

use crate::fault::{Fault, is_injected};
use std::str::Bytes;

pub use sluice_schemas::sql::clickhouse::{identifier as quote_identifier, literal as quote_string};

/// The value of a text between two `quote`s; `None` if `text` is not exactly one quoted text, or its value is not
/// UTF-8.
pub(crate) fn unquote(text: &str, quote: char) -> Option<String> {
    let mut bytes = text.strip_prefix(quote)?.strip_suffix(quote)?.bytes();
    let quote = u8::try_from(quote).ok()?;
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if is_injected(Fault::MisreadEscapes) => plain.push(bytes.next()?),
            b'\\' => unescape(&mut bytes, &mut plain)?,
            byte if byte == quote => plain.push(bytes.next().filter(|next| *next == quote)?),
            byte => plain.push(byte),
        }
    }
    // JSON results contain a replacement character for bytes that are not UTF-8.
    String::from_utf8(plain).ok().filter(|plain| !plain.contains(char::REPLACEMENT_CHARACTER))
}

/// An identifier, quoted or not.
pub(crate) fn parse_identifier(text: &str) -> Option<String> {
    match text.chars().next()? {
        quote @ ('`' | '"') => unquote(text, quote),
        _ => text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()).then(|| text.to_owned()),
    }
}

/// The identifier at the start of a text, and what follows it.
pub(crate) fn leading_identifier(text: &str) -> Option<(String, &str)> {
    let end = match text.bytes().next()? {
        quote @ (b'`' | b'"') => end_of_quoted(text, quote)?,
        _ => text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()),
    };
    let (identifier_text, remainder) = text.split_at_checked(end)?;
    Some((parse_identifier(identifier_text)?, remainder))
}

/// Index after the closing quote of the quoted text at the start of `text`.
fn end_of_quoted(text: &str, quote: u8) -> Option<usize> {
    let (bytes, mut at) = (text.as_bytes(), 1);
    loop {
        at += match bytes.get(at)? {
            b'\\' => 2,
            byte if *byte != quote => 1,
            _ if bytes.get(at + 1) == Some(&quote) => 2,
            _ => return Some(at + 1),
        };
    }
}

/// Appends the value of an escape whose backslash has been consumed.
fn unescape(rest: &mut Bytes<'_>, plain: &mut Vec<u8>) -> Option<()> {
    let byte = match rest.next()? {
        b'N' => return Some(()),
        b'x' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
        b'a' => 0x07,
        b'b' => 0x08,
        b'e' => 0x1b,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0' => 0,
        itself @ (b'\\' | b'\'' | b'"' | b'`' | b'/' | b'=' | 0..0x20) => itself,
        other => {
            plain.push(b'\\');
            other
        }
    };
    plain.push(byte);
    Some(())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(literal: &str) -> Option<String> {
        unquote(literal, '\'')
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote_identifier("a`b"), "`a\\`b`");
    }

    /// Each pair is what ClickHouse 26.7 returns for `SELECT` of the literal.
    #[test]
    fn escapes_are_read_as_clickhouse_does() {
        for (literal, value) in [
            (r"'line\nbreak'", "line\nbreak"),
            (r"'\a\b\e\f\n\r\t\v\0'", "\u{7}\u{8}\u{1b}\u{c}\n\r\t\u{b}\0"),
            (r"'\x41\xc3\xa4\xE4'", ""),
            (r"'\x41\xc3\xa4'", "A\u{e4}"),
            (r#"'\\ \' \" \` \/ \='"#, r#"\ ' " ` / ="#),
            (r"'a\Nb'", "ab"),
            (r"'100\% \d \_ \E \1 \ä'", r"100\% \d \_ \E \1 \ä"),
            ("'\\\n\\\u{1f}\\\u{7f}'", "\n\u{1f}\\\u{7f}"),
            ("'it''s'", "it's"),
            ("''''", "'"),
            ("''", ""),
            (r#"'"`'"#, "\"`"),
        ] {
            let value = (!value.is_empty() || literal == "''").then(|| value.to_owned());
            assert_eq!(text(literal), value, "{literal}");
        }
    }

    #[test]
    fn anything_but_one_quoted_text_is_rejected() {
        for literal in ["", "'", "a", "'a", "a'", r"'a\'", "'a'b'", "'a' 'b'", r"'\x4'", r"'\xzz'", "'a\u{fffd}'"] {
            assert_eq!(text(literal), None, "{literal}");
        }
    }

    #[test]
    fn identifiers_are_quoted_or_plain() {
        assert_eq!(parse_identifier("a_1").as_deref(), Some("a_1"));
        assert_eq!(parse_identifier(r"`t\`\\s\n`").as_deref(), Some("t`\\s\n"));
        assert_eq!(parse_identifier("`a``b`").as_deref(), Some("a`b"));
        assert_eq!(parse_identifier(r#""a""b\d""#).as_deref(), Some(r#"a"b\d"#));
        assert_eq!(
            (parse_identifier(""), parse_identifier("a b"), parse_identifier("`a"), parse_identifier("f(x)")),
            (None, None, None, None)
        );
    }

    #[test]
    fn a_leading_identifier_is_split_off() {
        let leading = |text| leading_identifier(text).map(|(name, rest)| format!("{name:?} {rest:?}"));
        assert_eq!(leading("d.t TO x").as_deref(), Some(r#""d" ".t TO x""#));
        assert_eq!(leading(r"`t.x \`y``z\n`.`u`").as_deref(), Some(r#""t.x `y`z\n" ".`u`""#));
        assert_eq!(leading("`\u{e4}` (").as_deref(), Some("\"\u{e4}\" \" (\""));
        assert_eq!((leading("`a"), leading(r"`a\`"), leading("(a)"), leading("")), (None, None, None, None));
    }

    #[test]
    fn names_and_strings_are_quoted_as_clickhouse_does() {
        assert_eq!(quote_identifier("t`\\s\n"), r"`t\`\\s\n`");
        assert_eq!(quote_string("it's\0"), r"'it\'s\0'");
    }

    proptest! {
        #[test]
        fn quoting_and_unquoting_round_trips(name in "\\PC{0,20}|[\\x00-\\x7f]{0,20}") {
            prop_assume!(!name.contains(char::REPLACEMENT_CHARACTER));
            prop_assert_eq!(unquote(&quote_identifier(&name), '`'), Some(name.clone()));
            prop_assert_eq!(unquote(&quote_string(&name), '\''), Some(name));
        }

        #[test]
        fn never_panics(literal in "'(\\\\|x|[a-f0-9]|'|\u{e4}|\\PC){0,12}'") {
            drop((text(&literal), parse_identifier(&literal), leading_identifier(&literal.replace('\'', "`"))));
        }
    }
}
