//! Fits a table into a terminal: long texts wrap within their cell, words and numbers never break, and columns of zeros are
//! left out if there is no other way. It never reads the terminal's size.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width};

/// Cells up to this many characters are numbers with their units, and don't wrap.
const SHORT: usize = 12;
/// Blanks beside the text of a cell.
const PADDING: usize = 2;

/// The table, at most `width` columns wide if its words allow that, or as wide as its texts. If the words don't, it has no
/// columns of zeros, and a line below it names them.
pub(crate) fn fit(mut table: Table, width: Option<u16>) -> String {
    let Some(width) = width else { return table.to_string() };
    let least: Vec<usize> = (0..table.column_count()).map(|column| least_width(&table, column) + PADDING).collect();
    let is_too_wide = least.iter().sum::<usize>() > usize::from(width);
    let zeros: Vec<usize> = (0..least.len()).filter(|&column| is_too_wide && has_only_zeros(&table, column)).collect();
    for (index, (column, least)) in table.column_iter_mut().zip(least).enumerate() {
        let least = u16::try_from(least).unwrap_or(u16::MAX);
        let shown = ColumnConstraint::LowerBoundary(Width::Fixed(least));
        column.set_constraint(if zeros.contains(&index) { ColumnConstraint::Hidden } else { shown });
    }
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    if zeros.is_empty() {
        return table.to_string();
    }
    let header = table.header().into_iter().flat_map(|header| header.cell_iter().map(Cell::content));
    let named = header.enumerate().filter(|(index, _)| zeros.contains(index)).map(|(_, name)| name);
    format!("{table}\nnot shown, since all are 0: {}", named.collect::<Vec<_>>().join(", "))
}

fn has_only_zeros(table: &Table, column: usize) -> bool {
    table.row_count() > 0 && table.column_cells_iter(column).all(|cell| cell.is_some_and(|cell| cell.content() == "0"))
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
        fit(table, width)
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
    fn columns_of_zeros_are_left_out_where_there_is_no_other_way() {
        let example = |width| {
            let mut table = table(&["store", "produced", "missing", "duplicate", "balance"], 1);
            table.add_row(["Elasticsearch", "1,234,567", "0", "0", "exact"]);
            table.add_row(["PostgreSQL", "12", "0", "1", "OFF"]);
            fit(table, Some(width))
        };
        assert!(example(60).contains("missing") && !example(60).contains("not shown"));
        insta::assert_snapshot!(example(50), @r"
        ─────────────────────────────────────────────────
         store            produced   duplicate   balance 
        ═════════════════════════════════════════════════
         Elasticsearch   1,234,567           0   exact   
         PostgreSQL             12           1   OFF     
        ─────────────────────────────────────────────────
        not shown, since all are 0: missing
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
