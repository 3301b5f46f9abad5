//! Fits a result into 80 columns, whatever the terminal, so that it is the same on a terminal, in a file and in a log: long
//! texts wrap, in a table within their cell; numbers never break, columns of zeros are left out and named where there is no
//! room, and a table that is still too wide becomes several. It never reads the terminal's size.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width};

/// Columns of a terminal that every table fits.
const WIDTH: u16 = 80;
/// Cells up to this many characters are numbers with their units, and don't wrap.
const SHORT: usize = 11;
/// A word up to this many characters doesn't break.
const WORD: usize = 24;
/// Blanks between two columns: the padding of a cell, and the place of a vertical line.
const GAP: usize = 2;
/// The room for columns with their gaps: after the last one is none.
const ROOM: usize = WIDTH as usize + 1;
/// Column before which the label of an indented line ends.
const LABEL_ENDS: usize = 20;
/// Units that stay with their number.
const UNITS: [&str; 8] = ["%", "ms", "s", "min", "h", "KiB", "MiB", "GiB"];
/// A blank at which no line breaks.
const UNBREAKABLE: char = '\u{a0}';

/// The table, at most [`WIDTH`] columns wide. The first `keys` columns name a row: each of several tables repeats them.
pub(crate) fn fit(table: &Table, keys: usize) -> String {
    let table = &with_units_in_cells(table);
    let least: Vec<usize> = (0..table.column_iter().count()).map(|column| least_width(table, column) + GAP).collect();
    let is_too_wide = least.iter().sum::<usize>() > ROOM;
    let is_zero = |column: &usize| is_too_wide && *column >= keys && has_only_zeros(table, *column);
    let (zeros, shown): (Vec<usize>, Vec<usize>) = (0..least.len()).partition(is_zero);
    let (keys, others) = shown.split_at(keys);
    let parts = parts(&least, keys, others).into_iter().map(|others| part(table, &least, &[keys, others].concat()));
    let text = parts.collect::<Vec<_>>().join("\n\n").replace(UNBREAKABLE, " ");
    if zeros.is_empty() {
        return text;
    }
    let header = table.header().into_iter().flat_map(|header| header.cell_iter().map(Cell::content));
    let named = header.enumerate().filter(|(index, _)| zeros.contains(index)).map(|(_, name)| name);
    format!("{text}\nnot shown, since all are 0: {}", named.collect::<Vec<_>>().join(", "))
}

/// The columns besides `keys` of each table: as many as fit.
fn parts<'a>(least: &[usize], keys: &[usize], others: &'a [usize]) -> Vec<&'a [usize]> {
    let width = |columns: &[usize]| columns.iter().map(|&column| least[column]).sum::<usize>();
    let room = ROOM.saturating_sub(width(keys));
    let (mut parts, mut rest) = (Vec::new(), others);
    while width(rest) > room && rest.len() > 1 {
        let fitting = (1..rest.len()).rev().find(|&count| width(&rest[..count]) <= room).unwrap_or(1);
        let (part, others) = rest.split_at(fitting);
        parts.push(part);
        rest = others;
    }
    parts.push(rest);
    parts
}

/// A table of some of the columns.
fn part(table: &Table, least: &[usize], shown: &[usize]) -> String {
    let mut part = table.clone();
    for (index, (column, &least)) in part.column_iter_mut().zip(least).enumerate() {
        let least = ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(least - 1).unwrap_or(WIDTH)));
        column.set_padding((0, 1));
        column.set_constraint(if shown.contains(&index) { least } else { ColumnConstraint::Hidden });
    }
    part.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH).to_string()
}

fn has_only_zeros(table: &Table, column: usize) -> bool {
    table.row_count() > 0 && table.column_cells_iter(column).all(|cell| cell.is_some_and(|cell| cell.content() == "0"))
}

/// The characters of a column's longest part that must not wrap.
fn least_width(table: &Table, column: usize) -> usize {
    let longest_word = |text: &str| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0).min(WORD);
    let cells = table.column_cells_iter(column).flatten().map(|cell| {
        let text = cell.content();
        let length = text.chars().count();
        if length <= SHORT { length } else { longest_word(&text) }
    });
    let header = table.header().and_then(|header| header.cell_iter().nth(column));
    cells.chain(header.map(|cell| longest_word(&cell.content()))).max().unwrap_or(0)
}

/// The text of a result with its lines wrapped.
pub(crate) fn fit_text(text: &str) -> String {
    wrap(text, usize::from(WIDTH))
}

/// The text with the lines that are longer than a number of columns broken between words, and without blanks at the ends of
/// lines. What continues a line is indented. A word that is longer stays whole, as does a number with its unit.
pub fn wrap(text: &str, width: usize) -> String {
    text.lines().map(|line| wrap_line(line.trim_end(), width)).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, width: usize) -> String {
    let indent = " ".repeat(indent(line));
    let options = textwrap::Options::new(width)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&with_units(line), &options).join("\n").replace(UNBREAKABLE, " ")
}

/// How far what continues a line is indented: as far as the text after its label, as far as the line, or a little.
fn indent(line: &str) -> usize {
    let own = line.len() - line.trim_start().len();
    let after_label = line[own..].find("  ").map(|at| line.len() - line[own + at..].trim_start().len());
    match after_label.filter(|&at| own > 0 && at < LABEL_ENDS) {
        Some(at) => at,
        None if own > 0 => own,
        None => 2,
    }
}

/// The table with unbreakable blanks between the numbers and the units in its cells. Alignment belongs to its columns.
fn with_units_in_cells(table: &Table) -> Table {
    let mut table = table.clone();
    for row in table.row_iter_mut() {
        let cells: Vec<String> = row.cell_iter().map(|cell| with_units(&cell.content())).collect();
        *row = cells.into();
    }
    table
}

/// The line with unbreakable blanks between numbers and their units.
fn with_units(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for word in line.split_inclusive(' ') {
        let is_unit = UNITS.contains(&word.trim_end_matches(|c: char| c != '%' && !c.is_alphabetic()));
        if is_unit && text.strip_suffix(' ').is_some_and(|before| before.ends_with(|c: char| c.is_ascii_digit())) {
            text.pop();
            text.push(UNBREAKABLE);
        }
        text.push_str(word);
    }
    text
}

/// The text without what a terminal would obey: a report from elsewhere may contain it.
pub(crate) fn printable(text: &str) -> String {
    let is_obeyed = |c: char| c.is_control() && c != '\n';
    text.chars().map(|c| if is_obeyed(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::table::table;
    use super::{WIDTH, fit, fit_text};

    fn fitted(header: &[&str], rows: &[&[&str]], keys: usize) -> String {
        let mut table = table(header, 1);
        table.add_rows(rows.iter().map(|row| row.iter().copied()));
        let text = fit(&table, keys);
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{text}");
        text
    }

    #[test]
    fn texts_wrap_and_words_and_numbers_do_not() {
        let header = ["records", "landed after", "objective", "samples", "verdict"];
        let row = ["communication-events of a tenant", "1,234,567", "95 % within 100 ms", "10,000,000", "INCONCLUSIVE"];
        insta::assert_snapshot!(fitted(&header, &[&row], 1), @r"
        ───────────────────────────────────────────────────────────────────────────
        records               landed after     objective     samples  verdict      
        ═══════════════════════════════════════════════════════════════════════════
        communication-events     1,234,567   95 % within  10,000,000  INCONCLUSIVE 
        of a tenant                               100 ms                           
        ───────────────────────────────────────────────────────────────────────────
        ");
    }

    #[test]
    fn columns_of_zeros_are_left_out_where_there_is_no_other_way() {
        let header = ["store", "produced", "landed", "missing", "duplicate", "wrong", "unexpected", "balance"];
        let balanced: &[&str] = &["Elasticsearch", "1,234,567", "1,234,567", "0", "0", "0", "0", "exact"];
        let off: &[&str] = &["PostgreSQL", "12", "13", "0", "1", "0", "0", "OFF"];
        assert!(!fitted(&header[..5], &[&balanced[..5], &off[..5]], 1).contains("not shown"));
        insta::assert_snapshot!(fitted(&header, &[balanced, off], 1), @r"
        ────────────────────────────────────────────────────────
        store           produced     landed  duplicate  balance 
        ════════════════════════════════════════════════════════
        Elasticsearch  1,234,567  1,234,567          0  exact   
        PostgreSQL            12         13          1  OFF     
        ────────────────────────────────────────────────────────
        not shown, since all are 0: missing, wrong, unexpected
        ");
    }

    #[test]
    fn a_table_that_is_still_too_wide_becomes_several_that_name_each_row() {
        let header = ["store", "records", "produced", "landed", "missing", "duplicate", "wrong", "balance"];
        let many: &[&str] =
            &["Elasticsearch", "communications", "10,000,000", "10,000,000", "10,000,000", "12", "34", "OFF"];
        insta::assert_snapshot!(fitted(&header, &[many], 2), @r"
        ─────────────────────────────────────────────────────────────────────────────
        store                 records    produced      landed     missing  duplicate 
        ═════════════════════════════════════════════════════════════════════════════
        Elasticsearch  communications  10,000,000  10,000,000  10,000,000         12 
        ─────────────────────────────────────────────────────────────────────────────

        ──────────────────────────────────────────────
        store                 records  wrong  balance 
        ══════════════════════════════════════════════
        Elasticsearch  communications     34  OFF     
        ──────────────────────────────────────────────
        ");
    }

    #[test]
    fn a_line_breaks_between_words_but_never_within_a_path_or_before_a_unit() {
        let line = "PASS search: at most 0.49 % exceed; this holds unless stalls last longer than 9 ms, or 2 s";
        let label =
            "  in all   about 3 min without the start of the stores: load 11 s, warm-up and drive 105 s, in all";
        let path = format!("/{}", "a-b/".repeat(30));
        let text = fit_text(&format!("SLOs  \n{line}\n{label}\nread {path}"));
        insta::assert_snapshot!(text.replace(&path, "PATH"), @r"
        SLOs
        PASS search: at most 0.49 % exceed; this holds unless stalls last longer than
          9 ms, or 2 s
          in all   about 3 min without the start of the stores: load 11 s, warm-up and
                   drive 105 s, in all
        read
          PATH
        ");
    }

    #[test]
    fn a_word_that_is_longer_than_a_column_breaks() {
        let name = "a".repeat(40);
        let text = fitted(&["question", "landed"], &[&[&format!("{name} ({name})"), &"9".repeat(100)]], 1);
        assert_eq!(text.matches('a').count(), 80 + 1, "{text}");
    }
}
