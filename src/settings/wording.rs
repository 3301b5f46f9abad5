//! Errors of the configuration libraries in plain language: what is wrong with a value, and what to write instead. The
//! value of a secret is never shown.

/// Endings of the libraries' messages, each with what to write instead.
const EXPECTED: [(&str, &str); 13] = [
    (", expected a string", "write it in quotes"),
    (", expected a boolean", "write true or false"),
    (", expected a sequence", "write a list, as in [\"a\", \"b\"]"),
    (", expected a duration", "write sizes as \"256 MiB\" and times as \"30s\""),
    (", expected parsable string", "write sizes as \"256 MiB\" and times as \"30s\""),
    (", expected an integer or string", "write sizes as \"256 MiB\" and times as \"30s\""),
    (", expected integer overflow", "a size is 0 or more and at most 16 EiB; write it as \"256 MiB\""),
    (", expected u8", "write a whole number from 0 to 255"),
    (", expected u16", "write a whole number from 0 to 65535"),
    (", expected u32", "write a whole number from 0 to 4294967295"),
    (", expected u64", "write a whole number from 0 to 9223372036854775807"),
    (", expected usize", "write a whole number from 0 to 9223372036854775807"),
    (
        "invalid socket address syntax",
        "write an IP address and a port, as in \"127.0.0.1:21050\" or \"[::1]:21050\"; host names are not looked up",
    ),
];

/// Parts of the names of keys whose values are or contain secrets.
const SECRET: [&str; 6] = ["password", "secret", "token", "jaas", "login", "pem"];
/// Section of the Kafka client settings, some of which are secrets.
const CLIENT: [&str; 2] = ["ingest", "kafka"];
/// Keys of logins.
const LOGINS: [&str; 6] = ["admin", "owner", "app", "cdc", "loader", "reader"];

/// The message in plain language, with a remedy.
pub(super) fn explain(message: &str) -> String {
    let message = without_secrets(message.trim_end());
    let table = [", expected struct ", ", expected a map"].iter().find_map(|expected| message.rsplit_once(expected));
    if let Some((before, _)) = table {
        return format!("{before}; write a section, as in [stores.postgres], or a table, as in {{ port = 5432 }}");
    }
    let known = EXPECTED.iter().find_map(|(end, advice)| Some((message.strip_suffix(end)?, end, advice)));
    let Some((before, end, advice)) = known else { return message };
    // Names of Rust types mean nothing to the reader of a configuration.
    let before = before.trim_end_matches(" as i128").trim_end_matches(" as u128");
    match end.strip_prefix(", expected a ") {
        Some(expected) => format!("{before}, expected a {expected}; {advice}"),
        None if before.ends_with('\n') || before.is_empty() => format!("{before}this is not an address; {advice}"),
        None => format!("{before}; {advice}"),
    }
}

/// The message for a value that came from a variable.
pub(super) fn explain_variable(path: &[String], message: &str) -> String {
    let is_table = message.ends_with("expected a map") || message.contains("expected struct");
    if is_table {
        "it is not accepted; write a table as in {user=\"me\",password=\"…\"}, quote names that contain a dot"
            .to_owned()
    } else if path.iter().any(|key| is_secret(key)) || path.starts_with(&CLIENT.map(str::to_owned)) {
        "it is not accepted; in a variable, a value that looks like a number or a list is written in double quotes"
            .to_owned()
    } else {
        explain(message)
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.trim().to_lowercase();
    SECRET.iter().any(|part| key.contains(part)) || LOGINS.contains(&key.as_str())
}

/// The key of a line that has the form `key = value`.
fn key(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let is_key = key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c));
    (is_key && !value.trim().is_empty() && !value.starts_with('=')).then_some(key)
}

/// Whether a line is certainly not part of a secret: a section, a comment, or a key with its value. Any other line may
/// continue a value that began above.
fn is_plain(line: &str) -> bool {
    let line = line.trim();
    !is_secret(line)
        && (line.is_empty() || line.starts_with(['[', '#']) || key(line).is_some_and(|key| !is_secret(key)))
}

/// The message without the values in the lines that it quotes from the file.
fn without_secrets(message: &str) -> String {
    let hide = |line: &str| match line.split_once(" | ") {
        Some((number, quoted)) if number.bytes().all(|byte| byte.is_ascii_digit()) && !is_plain(quoted) => {
            match key(quoted) {
                Some(key) if is_secret(key) => format!("{number} | {key}= ***"),
                _ => format!("{number} | ***"),
            }
        }
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = message.lines().map(hide).collect();
    let has_hidden = lines.iter().any(|line| line.ends_with("***"));
    if has_hidden && let Some(last) = lines.last_mut() {
        *last = without_quoted(last);
    }
    lines.join("\n")
}

/// The last line may quote the value too: `invalid type: integer `1234`, expected a string`.
fn without_quoted(line: &str) -> String {
    let Some(at) = line.find(['`', '"']) else { return line.to_owned() };
    let (before, rest) = line.split_at(at);
    let quote = &rest[..1];
    let end = if quote == "`" { rest[1..].find(quote) } else { rest[1..].rfind(quote) };
    format!("{before}***{}", end.map_or("", |end| &rest[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_are_replaced_by_advice() {
        let explained = |end: &str| explain(&format!("invalid value: integer `-5`, expected {end}"));
        insta::assert_snapshot!(explained("u16"), @"invalid value: integer `-5`; write a whole number from 0 to 65535");
        insta::assert_snapshot!(explained("integer overflow"), @r#"invalid value: integer `-5`; a size is 0 or more and at most 16 EiB; write it as "256 MiB""#);
        insta::assert_snapshot!(explained("a string"), @"invalid value: integer `-5`, expected a string; write it in quotes");
        insta::assert_snapshot!(explain("invalid type: integer `9` as i128, expected usize"), @"invalid type: integer `9`; write a whole number from 0 to 9223372036854775807");
        insta::assert_snapshot!(explain("invalid socket address syntax"), @r#"this is not an address; write an IP address and a port, as in "127.0.0.1:21050" or "[::1]:21050"; host names are not looked up"#);
        assert_eq!(explain("unknown variant `sticky`, expected `eager`"), "unknown variant `sticky`, expected `eager`");
    }

    #[test]
    fn no_message_shows_a_secret() {
        let message = "TOML parse error at line 2, column 12\n  |\n2 | password = 1234\n  |            ^^^^\n\
                       invalid type: integer `1234`, expected a string\n";
        insta::assert_snapshot!(explain(message), @r"
        TOML parse error at line 2, column 12
          |
        2 | password = ***
          |            ^^^^
        invalid type: integer ***, expected a string; write it in quotes
        ");
        let inline =
            "TOML parse error at line 3, column 9\n  |\n3 | login = { user = \"me\", password = 1234 }\n  |  ^\nno";
        assert!(!explain(inline).contains("1234"), "{}", explain(inline));
        let unquoted = "TOML parse error at line 2, column 12\n  |\n2 | password = hunter2\n  |            ^\nstring values must be quoted\n";
        assert!(!explain(unquoted).contains("hunter2"), "{}", explain(unquoted));
        for (quoted, message) in [
            ("4 | hunter2c", "invalid multi-line basic string"),
            ("4 |   'hunter2c',", "invalid type: sequence, expected a string"),
            ("4 | hunter2c==", "expected newline"),
            ("4 | login = \"hunter2c\"", "invalid type: string \"hunter2c\", expected struct Login"),
            ("4 | \"sasl.password\" = hunter2c", "string values must be quoted"),
        ] {
            let shown = explain(&format!("TOML parse error at line 4, column 1\n  |\n{quoted}\n  | ^\n{message}\n"));
            assert!(!shown.contains("hunter2c"), "{shown}");
        }
        let shown = "TOML parse error at line 4, column 1\n  |\n4 | max_rows = \"x\"\n  | ^\nno";
        assert_eq!(explain(shown), shown);
        let path = ["ingest", "kafka"].map(str::to_owned);
        let message = "invalid type: found string \"{\"sasl.password\"=\"SECRET1\"\", expected a map";
        assert!(!explain_variable(&path, message).contains("SECRET1"));
        let path = ["stores", "postgres", "admin"].map(str::to_owned);
        assert!(
            !explain_variable(&path, "invalid type: found string \"SECRETp\", expected struct Login")
                .contains("SECRETp")
        );
        let path = ["stores", "clickhouse", "login", "password"].map(str::to_owned);
        assert!(
            !explain_variable(&path, "invalid type: found unsigned int `1234`, expected a string").contains("1234")
        );
        let path = ["stores", "postgres", "port"].map(str::to_owned);
        assert!(explain_variable(&path, "invalid value unsigned int `70000`, expected u16").contains("70000"));
    }
}
