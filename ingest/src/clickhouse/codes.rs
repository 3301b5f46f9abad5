//! Classifies ClickHouse's error codes and extracts details from the text of an exception.
//! The text may quote a row, so only the number of a row, the name of a setting and the suspected name of a view are
//! kept.
//!
//! Codes: `src/Common/ErrorCodes.cpp` of ClickHouse.

use crate::failure::{Class, Failure};

/// Errors that pass without intervention, or that leave unknown whether the write took place.
const TRANSIENT: &[(u32, &str)] = &[
    (3, "UNEXPECTED_END_OF_FILE"),
    (107, "FILE_DOESNT_EXIST"),
    (159, "TIMEOUT_EXCEEDED"),
    (160, "TOO_SLOW"),
    (173, "CANNOT_ALLOCATE_MEMORY"),
    (198, "DNS_ERROR"),
    (201, "QUOTA_EXCEEDED"),
    (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    (203, "NO_FREE_CONNECTION"),
    (209, "SOCKET_TIMEOUT"),
    (210, "NETWORK_ERROR"),
    (216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"),
    (225, "NO_ZOOKEEPER"),
    (236, "ABORTED"),
    (241, "MEMORY_LIMIT_EXCEEDED"),
    (242, "TABLE_IS_READ_ONLY"),
    (243, "NOT_ENOUGH_SPACE"),
    (252, "TOO_MANY_PARTS"),
    (279, "ALL_CONNECTION_TRIES_FAILED"),
    (285, "TOO_FEW_LIVE_REPLICAS"),
    (286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE"),
    (305, "TABLE_WAS_NOT_DROPPED"),
    (319, "UNKNOWN_STATUS_OF_INSERT"),
    (394, "QUERY_WAS_CANCELLED"),
    (425, "SYSTEM_ERROR"),
    (439, "CANNOT_SCHEDULE_TASK"),
    (473, "DEADLOCK_AVOIDED"),
    (499, "S3_ERROR"),
    (999, "KEEPER_EXCEPTION"),
];

/// Errors of rows that ClickHouse will never accept.
const ROW: &[(u32, &str)] = &[
    (6, "CANNOT_PARSE_TEXT"),
    (26, "CANNOT_PARSE_QUOTED_STRING"),
    (27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    (32, "ATTEMPT_TO_READ_AFTER_EOF"),
    (33, "CANNOT_READ_ALL_DATA"),
    (38, "CANNOT_PARSE_DATE"),
    (41, "CANNOT_PARSE_DATETIME"),
    (69, "ARGUMENT_OUT_OF_BOUND"),
    (70, "CANNOT_CONVERT_TYPE"),
    (72, "CANNOT_PARSE_NUMBER"),
    (117, "INCORRECT_DATA"),
    (131, "TOO_LARGE_STRING_SIZE"),
    (153, "ILLEGAL_DIVISION"),
    (190, "SIZES_OF_ARRAYS_DONT_MATCH"),
    (321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"),
    (349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
    (376, "CANNOT_PARSE_UUID"),
    (395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    (407, "DECIMAL_OVERFLOW"),
    (467, "CANNOT_PARSE_BOOL"),
    (469, "VIOLATED_CONSTRAINT"),
    (675, "CANNOT_PARSE_IPV4"),
    (676, "CANNOT_PARSE_IPV6"),
    (691, "UNKNOWN_ELEMENT_OF_ENUM"),
];

/// Errors of a wrong table, privilege or configuration.
const OPERATOR: &[(u32, &str)] = &[
    (8, "THERE_IS_NO_COLUMN"),
    (10, "NOT_FOUND_COLUMN_IN_BLOCK"),
    (16, "NO_SUCH_COLUMN_IN_TABLE"),
    (20, "NUMBER_OF_COLUMNS_DOESNT_MATCH"),
    (47, "UNKNOWN_IDENTIFIER"),
    (50, "UNKNOWN_TYPE"),
    (57, "TABLE_ALREADY_EXISTS"),
    (60, "UNKNOWN_TABLE"),
    (62, "SYNTAX_ERROR"),
    (73, "UNKNOWN_FORMAT"),
    (81, "UNKNOWN_DATABASE"),
    (115, "UNKNOWN_SETTING"),
    (158, "TOO_MANY_ROWS"),
    (164, "READONLY"),
    (192, "UNKNOWN_USER"),
    (193, "WRONG_PASSWORD"),
    (194, "REQUIRED_PASSWORD"),
    (195, "IP_ADDRESS_NOT_ALLOWED"),
    (218, "TABLE_IS_DROPPED"),
    (277, "INDEX_NOT_USED"),
    (291, "DATABASE_ACCESS_DENIED"),
    (307, "TOO_MANY_BYTES"),
    (396, "TOO_MANY_ROWS_OR_BYTES"),
    (452, "SETTING_CONSTRAINT_VIOLATION"),
    (497, "ACCESS_DENIED"),
    (516, "AUTHENTICATION_FAILED"),
];

/// Text of code 252 if it does not mean too many parts of a table.
const TOO_MANY_PARTITIONS: &str = "Too many partitions for single INSERT block";
/// Precedes the name of a view in the text of an exception.
const VIEW: &str = "while pushing to view ";

/// Errors that expressions of a table raise, for some rows or for all: the table or the row may be wrong, and only
/// trying rows alone decides.
const UNCLEAR: &[(u32, &str)] = &[
    (36, "BAD_ARGUMENTS"),
    (43, "ILLEGAL_TYPE_OF_ARGUMENT"),
    (44, "ILLEGAL_COLUMN"),
    (48, "NOT_IMPLEMENTED"),
    (53, "TYPE_MISMATCH"),
];

/// The text for HTTP 413.
const TOO_LARGE: &str = "HTTP 413 instead of a ClickHouse response: a proxy limits the size of requests; raise that \
                         limit above max_bytes and backlog_bytes of ingest.pipelines";

/// Codes whose text names a setting.
const SETTING_CODES: [&str; 2] = ["setting_constraint_violation", "readonly"];
/// Precedes the name of a setting in the text of these codes.
const SETTING: [&str; 2] = ["Cannot modify '", "Setting "];

/// Prefix of codes that no table lists; the number follows.
const UNLISTED: &str = "clickhouse_error_";

const TABLE: [(Class, &[(u32, &str)]); 4] =
    [(Class::Transient, TRANSIENT), (Class::Row, ROW), (Class::Operator, OPERATOR), (Class::Operator, UNCLEAR)];

/// A failure that ClickHouse reported. A code that is not in the table is classified by the HTTP status until rows have
/// been tried alone.
pub(crate) fn failure(status: u16, code: Option<u32>) -> Failure {
    let known = code.and_then(|code| {
        let find = |(class, codes): (Class, &'static [(u32, &'static str)])| {
            codes.iter().find(|(known, _)| *known == code).map(|(_, name)| (class, *name))
        };
        TABLE.into_iter().find_map(find)
    });
    let (class, name) = known.unwrap_or_else(|| (by_status(status), "not in the table of known errors"));
    let is_unclear = known.is_none() && code.is_some() || UNCLEAR.iter().any(|(_, unclear)| *unclear == name);
    let what = match code {
        Some(code) => format!("ClickHouse returned error {code} ({name}), HTTP {status}"),
        None if status == 413 => TOO_LARGE.to_owned(),
        None => format!("HTTP {status} instead of a ClickHouse response"),
    };
    let code = match code {
        Some(code) if known.is_none() => format!("{UNLISTED}{code}"),
        Some(_) => name.to_lowercase(),
        None => String::new(),
    };
    Failure { class, what, code, row: None, is_unclear, suspected_view: None }
}

/// Adds details from the server's text to a failure: the number of the row at fault (counted from 1 there), the view,
/// and the meaning of an ambiguous code. Nothing else of the text is kept, since it may quote the row.
pub(crate) fn with_text(mut failure: Failure, text: &str) -> Failure {
    let after = text.rfind("at row ").map(|at| &text[at + "at row ".len()..]);
    let digits = after.map(|after| after.chars().take_while(char::is_ascii_digit).collect::<String>());
    failure.row = digits.and_then(|digits| digits.parse::<usize>().ok()?.checked_sub(1));
    failure.suspected_view = view(text);
    if SETTING_CODES.contains(&failure.code.as_str())
        && let Some(name) = setting(text)
    {
        failure.what =
            format!("{}: setting {name} is fixed or bounded in the profile of this ClickHouse user", failure.what);
    }
    // Merges reduce the number of parts; nothing reduces the partitions of a block.
    if failure.code == "too_many_parts" && text.contains(TOO_MANY_PARTITIONS) {
        failure.class = Class::Operator;
        failure.what.push_str(
            ": too many partitions for one INSERT; partition by month, or raise max_partitions_per_insert_block",
        );
    }
    failure
}

/// The view named last in the text of an exception, as `database.name` without quotes.
fn view(text: &str) -> Option<String> {
    let name = &text[text.rfind(VIEW)? + VIEW.len()..];
    let end = [". (", ": while ", ": While "].into_iter().filter_map(|end| name.find(end)).min()?;
    Some(name[..end].replace('`', ""))
}

/// The setting named in the text of one of [`SETTING_CODES`].
fn setting(text: &str) -> Option<&str> {
    let after = SETTING.iter().find_map(|before| text.find(before).map(|at| &text[at + before.len()..]))?;
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
    (end > 0).then(|| &after[..end])
}

fn by_status(status: u16) -> Class {
    match status {
        408 | 425 | 429 | 500..=599 => Class::Transient,
        _ => Class::Operator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::failures;

    #[test]
    fn every_listed_code_has_its_class_with_any_status() {
        for (class, codes) in TABLE {
            for (code, name) in codes {
                for status in [200, 400, 403, 404, 500, 503] {
                    let failure = failure(status, Some(*code));
                    assert_eq!(failure.class, class, "{code} {name} with {status}");
                    assert!(failure.what.contains(name), "{failure}");
                }
            }
        }
    }

    #[test]
    fn no_code_is_in_two_classes() {
        let mut codes: Vec<_> = TABLE.iter().flat_map(|(_, codes)| codes.iter().map(|(code, _)| code)).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn without_a_known_code_the_status_decides_and_no_row_is_blamed_at_once() {
        for (status, class) in [
            (500, Class::Transient),
            (502, Class::Transient),
            (503, Class::Transient),
            (429, Class::Transient),
            (408, Class::Transient),
            (400, Class::Operator),
            (401, Class::Operator),
            (403, Class::Operator),
            (404, Class::Operator),
            (414, Class::Operator),
        ] {
            assert_eq!(failure(status, None).class, class, "{status}");
            assert_eq!(failure(status, Some(99_999)).class, class, "{status}");
        }
    }

    #[test]
    fn an_unlisted_or_ambiguous_code_is_unclear() {
        assert_eq!(failure(500, Some(99_999)).code, "clickhouse_error_99999");
        for unclear in [failure(500, Some(99_999)), failure(400, Some(36))] {
            assert!(unclear.is_unclear && unclear.may_be_row_fault(), "{unclear}");
        }
        for clear in [
            failure(500, Some(241)),
            failure(404, Some(60)),
            failure(500, None),
            Failure::new(Class::Transient, "no response"),
        ] {
            assert!(!clear.is_unclear && !clear.may_be_row_fault(), "{clear}");
        }
        let row = failure(500, Some(190));
        assert!(row.may_be_row_fault() && !row.is_unclear);
    }

    #[test]
    fn only_the_row_number_is_taken_from_the_text() {
        let row = |text: &str| with_text(failure(400, Some(469)), text).row;
        assert_eq!(row("Constraint `c` for table `t` is violated at row 4. Expression: (n < 5)"), Some(3));
        assert_eq!(row("Cannot parse: secret: (at row 17)\n"), Some(16));
        assert_eq!(row("at row x, at row 0"), None);
        assert_eq!(row("no number"), None);
    }

    #[test]
    fn a_setting_fixed_by_a_profile_is_named() {
        let message = |code, text: &str| with_text(failure(500, Some(code)), text).to_string();
        insta::assert_snapshot!(message(452, "Code: 452. DB::Exception: Setting max_execution_time shouldn't be greater than 5."), @"write: ClickHouse returned error 452 (SETTING_CONSTRAINT_VIOLATION), HTTP 500: setting max_execution_time is fixed or bounded in the profile of this ClickHouse user");
        insta::assert_snapshot!(message(164, "Cannot modify 'limit' setting in readonly mode"), @"write: ClickHouse returned error 164 (READONLY), HTTP 500: setting limit is fixed or bounded in the profile of this ClickHouse user");
        insta::assert_snapshot!(message(164, "Cannot execute query in readonly mode"), @"write: ClickHouse returned error 164 (READONLY), HTTP 500");
    }

    #[test]
    fn the_view_at_fault_is_found_in_the_text() {
        let view = |text: &str| with_text(failure(500, Some(252)), text).suspected_view;
        let ends = "with average size): while pushing to view d.`my view`. (TOO_MANY_PARTS) (version 26.7.2.1)\n";
        assert_eq!(view(ends).unwrap(), "d.my view");
        let nested = "x: while pushing to view d.a: while pushing to view d.b: While executing X. (TOO_MANY_PARTS)";
        assert_eq!(view(nested).unwrap(), "d.b");
        assert_eq!(view("Too many parts. (TOO_MANY_PARTS)"), None);
    }

    #[test]
    fn too_many_partitions_need_an_operator_and_too_many_parts_do_not() {
        let failure_with = |text: &str| with_text(failure(500, Some(252)), text);
        assert_eq!(failure_with("Too many parts (300) in table").class, Class::Transient);
        let partitions = failure_with("Too many partitions for single INSERT block (more than 100). The limit");
        assert_eq!(partitions.class, Class::Operator);
        insta::assert_snapshot!(failures::in_view(partitions, "d.v"), @"write: ClickHouse returned error 252 (TOO_MANY_PARTS), HTTP 500: too many partitions for one INSERT; partition by month, or raise max_partitions_per_insert_block, while ClickHouse wrote to view d.v");
    }

    #[test]
    fn the_text_fits_after_failed_to() {
        insta::assert_snapshot!(failure(404, Some(60)), @"write: ClickHouse returned error 60 (UNKNOWN_TABLE), HTTP 404");
        insta::assert_snapshot!(failure(502, None), @"write: HTTP 502 instead of a ClickHouse response");
        insta::assert_snapshot!(failures::not_a_response("HTTP 204"), @"write: not a ClickHouse response (HTTP 204); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
    }
}
