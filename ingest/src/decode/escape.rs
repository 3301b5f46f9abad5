//! Escapes in JSON strings.
//! The text between the quotes goes in, its characters come out; half of a surrogate pair names no character and is
//! refused. That each escape has a right form was seen to by [`super::json`].

use super::reason::Reason;

/// Appends the characters of `text` to `out`.
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

/// The character of an escape without its `\`, and what follows it.
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

/// The character of one `\uXXXX`, or of two that are a pair of surrogates; the first `\u` is gone already.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(text)?;
    let is_half = (0xd800..0xdc00).contains(&first);
    let (second, rest) = if is_half { unit(rest.strip_prefix("\\u")?)? } else { (0, rest) };
    let units = if is_half { &[first, second][..] } else { &[first] };
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
    fn every_escape_names_its_character() {
        assert_eq!(plain(r#"a\"\\\/\b\f\n\r\t"#).as_deref(), Ok("a\"\\/\u{8}\u{c}\n\r\t"));
        assert_eq!(plain(r"\u0000\u00e4\uD83D\ude00!\\u0041").as_deref(), Ok("\0\u{e4}\u{1f600}!\\u0041"));
    }

    #[test]
    fn half_a_pair_names_no_character() {
        for text in [r"\ud800", r"\ud800x", r"\ud800\n", r"\ud800\u0041", r"\ude00", r"\ude00\ud83d"] {
            assert_eq!(plain(text), Err(Reason::InvalidUtf8), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_reads(text in r#"([a\u{e4}]|\\[nt"/\\]|\\u(d83d|DE00|0041|d8[0-9a-f]{2})){0,8}"#) {
            let theirs = serde_json::from_str::<String>(&format!("\"{text}\"")).map_err(|_| Reason::InvalidUtf8);
            prop_assert_eq!(plain(&text), theirs);
        }
    }
}
