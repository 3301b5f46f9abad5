//! Unescapes JSON strings.
//! It rejects an unpaired surrogate, and expects well-formed escapes, which [`super::json`] has checked. It never
//! substitutes a character.

use super::reason::Reason;

/// Appends the characters of `text`, the text between the quotes, to `out`.
pub(super) fn unescape(text: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let (character, after) = character(escape).ok_or(Reason::InvalidUtf8)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// The character of an escape without its `\`, and the text after it.
fn character(escape: &str) -> Option<(char, &str)> {
    let (first, rest) = escape.split_at_checked(1)?;
    let character = match first {
        "b" => '\u{8}',
        "f" => '\u{c}',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => return unicode(rest),
        itself => itself.chars().next()?,
    };
    Some((character, rest))
}

/// The character of one `\uXXXX` or of a surrogate pair; the first `\u` has been consumed.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(text)?;
    let is_surrogate = (0xd800..0xdc00).contains(&first);
    let (second, rest) = if is_surrogate { unit(rest.strip_prefix("\\u")?)? } else { (0, rest) };
    let units = if is_surrogate { &[first, second][..] } else { &[first] };
    Some((char::decode_utf16(units.iter().copied()).next()?.ok()?, rest))
}

fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> Result<String, Reason> {
        let mut out = Vec::new();
        unescape(text, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_escape_is_decoded() {
        assert_eq!(plain(r#"a\"\\\/\b\f\n\r\t"#).as_deref(), Ok("a\"\\/\u{8}\u{c}\n\r\t"));
        assert_eq!(plain(r"\u0000\u00e4\uD83D\ude00!\\u0041").as_deref(), Ok("\0\u{e4}\u{1f600}!\\u0041"));
    }

    #[test]
    fn an_unpaired_surrogate_is_rejected() {
        for text in [r"\ud800", r"\ud800x", r"\ud800\n", r"\ud800\u0041", r"\ude00", r"\ude00\ud83d"] {
            assert_eq!(plain(text), Err(Reason::InvalidUtf8), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(text in r#"([a\u{e4}]|\\[nt"/\\]|\\u(d83d|DE00|0041|d8[0-9a-f]{2})){0,8}"#) {
            let reference = serde_json::from_str::<String>(&format!("\"{text}\"")).map_err(|_| Reason::InvalidUtf8);
            prop_assert_eq!(plain(&text), reference);
        }
    }
}
