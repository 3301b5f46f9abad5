//! What a library says about a value that it could not read, in the words of a configuration: what is wrong, and what to
//! write instead. Text goes in, text comes out. It never shows the value of a secret.

/// What a library expected, by the end of its sentence, and what to write.
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

/// Parts of the names of keys whose values are secrets.
const SECRET: [&str; 4] = ["password", "secret", "token", "jaas"];

/// Says it again in plain words, with what to do.
pub(super) fn explain(message: &str) -> String {
    let message = without_secrets(message.trim_end());
    let known = EXPECTED.iter().find_map(|(end, advice)| Some((message.strip_suffix(end)?, end, advice)));
    let Some((before, end, advice)) = known else { return message };
    // What a number is called inside of a program is no word of a configuration.
    let before = before.trim_end_matches(" as i128").trim_end_matches(" as u128");
    match end.strip_prefix(", expected a ") {
        Some(wish) => format!("{before}, expected a {wish}; {advice}"),
        None if before.ends_with('\n') || before.is_empty() => format!("{before}this is no address; {advice}"),
        None => format!("{before}; {advice}"),
    }
}

/// What is said of a value that came from a variable.
pub(super) fn of_variable(path: &[String], message: &str) -> String {
    let is_secret = path.last().is_some_and(|key| is_secret(key));
    if is_secret {
        "it is not taken; in a variable, a value that looks like a number or a list is written in double quotes"
            .to_owned()
    } else {
        explain(message)
    }
}

fn is_secret(key: &str) -> bool {
    SECRET.iter().any(|part| key.to_lowercase().contains(part))
}

/// The same without the values that stand in the lines of a file which it quotes.
fn without_secrets(message: &str) -> String {
    let hide = |line: &str| match line.split_once('=') {
        Some((key, _)) if line.contains(" | ") && is_secret(line) => format!("{key}= ***"),
        _ => line.to_owned(),
    };
    let mut lines: Vec<String> = message.lines().map(hide).collect();
    let has_hidden = lines.iter().any(|line| line.ends_with("= ***"));
    if has_hidden {
        // The last line may quote the value as well: `invalid type: integer `1234`, expected a string`.
        if let Some(last) = lines.last_mut() {
            *last = last.split_once('`').map_or_else(
                || last.clone(),
                |(before, rest)| format!("{before}***{}", rest.split_once('`').map_or("", |(_, after)| after)),
            );
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_calls_a_number_is_said_in_plain_words() {
        let say = |end: &str| explain(&format!("invalid value: integer `-5`, expected {end}"));
        insta::assert_snapshot!(say("u16"), @"invalid value: integer `-5`; write a whole number from 0 to 65535");
        insta::assert_snapshot!(say("integer overflow"), @r#"invalid value: integer `-5`; a size is 0 or more and at most 16 EiB; write it as "256 MiB""#);
        insta::assert_snapshot!(say("a string"), @"invalid value: integer `-5`, expected a string; write it in quotes");
        insta::assert_snapshot!(explain("invalid type: integer `9` as i128, expected usize"), @"invalid type: integer `9`; write a whole number from 0 to 9223372036854775807");
        insta::assert_snapshot!(explain("invalid socket address syntax"), @r#"this is no address; write an IP address and a port, as in "127.0.0.1:21050" or "[::1]:21050"; host names are not looked up"#);
        assert_eq!(explain("unknown variant `sticky`, expected `eager`"), "unknown variant `sticky`, expected `eager`");
    }

    #[test]
    fn a_secret_is_shown_by_no_library() {
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
        let path = ["stores", "clickhouse", "login", "password"].map(str::to_owned);
        assert!(!of_variable(&path, "invalid type: found unsigned int `1234`, expected a string").contains("1234"));
        let path = ["stores", "postgres", "port"].map(str::to_owned);
        assert!(of_variable(&path, "invalid value unsigned int `70000`, expected u16").contains("70000"));
    }
}
