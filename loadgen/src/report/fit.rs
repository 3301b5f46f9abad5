//! Fits a table into a terminal: long texts wrap within their cell, words and numbers never break. It never reads the
//! terminal's size.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

/// Cells up to this many characters are numbers with their units, and don't wrap.
const SHORT: usize = 12;
/// Blanks beside the text of a cell.
const PADDING: usize = 2;

/// The table, at most `width` columns wide if its words allow that, or as wide as its texts.
pub(crate) fn fit(mut table: Table, width: Option<u16>) -> Table {
    let Some(width) = width else { return table };
    let least: Vec<usize> = (0..table.column_count()).map(|column| least_width(&table, column)).collect();
    for (column, least) in table.column_iter_mut().zip(least) {
        let least = u16::try_from(least + PADDING).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table
}

/// The characters of a column's longest part that must not wrap.
fn least_width(table: &Table, column: usize) -> usize {
    let longest_word = |text: &str| text.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
    let cells = table.column_cells_iter(column).flatten().map(|cell| {
        let text = cell.content();
        let length = text.chars().count();
        if length <= SHORT { length } else { longest_word(&text) }
    });
    let header = table.header().and_then(|header| header.cell_iter().nth(column));
    cells.chain(header.map(|cell| longest_word(&cell.content()))).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::table::table;
    use super::fit;

    fn example(width: Option<u16>) -> String {
        let mut table = table(&["records", "landed after", "objective", "verdict"], 1);
        table.add_row(["communication-events of a tenant", "1,234,567", "95 % within 100 ms", "INCONCLUSIVE"]);
        fit(table, width).to_string()
    }

    #[test]
    fn texts_wrap_and_words_and_numbers_do_not() {
        insta::assert_snapshot!(example(Some(66)), @r"
        ──────────────────────────────────────────────────────────────────
         records                landed after     objective   verdict      
        ══════════════════════════════════════════════════════════════════
         communication-events      1,234,567   95 % within   INCONCLUSIVE 
         of a tenant                                100 ms                
        ──────────────────────────────────────────────────────────────────
        ");
    }

    #[test]
    fn a_table_that_fits_is_unchanged() {
        assert_eq!(example(Some(200)), example(None));
    }

    #[test]
    fn a_terminal_that_is_too_narrow_breaks_no_word() {
        let text = example(Some(10));
        for whole in ["communication-events", "1,234,567", "INCONCLUSIVE"] {
            assert!(text.contains(whole), "{text}");
        }
    }
}
