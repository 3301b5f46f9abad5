//! Tables of the view of a drive: a column of names, and columns of numbers, some of which a narrow terminal goes without. They
//! cut long names and no number, and a blank is between any two columns.

use ratatui::{
    layout::Constraint,
    style::{Color, Style, Stylize},
    text::Line,
    widgets::{Row, Table},
};

/// The cells of a row.
pub(super) type Cells = Vec<Line<'static>>;

/// A row: a name, and cells aligned to the right, some of them in color.
pub(super) fn row(name: String, cells: impl Iterator<Item = String>, colors: &[(usize, Color)]) -> Cells {
    let cells = cells.enumerate().map(|(index, text)| {
        let color = colors.iter().find(|(column, _)| *column == index + 1);
        let line = Line::from(text).right_aligned();
        color.map_or(line.clone(), |(_, color)| line.style(Style::new().fg(*color).bold()))
    });
    std::iter::once(Line::from(name)).chain(cells).collect()
}

/// The text, or its beginning and an ellipsis if it has more characters than `width`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('…')).collect()
}

/// Characters of a name that are shown where not all columns fit.
const NAME: usize = 13;
/// Columns of the widest names: on a wide terminal, numbers stay near their name.
const WIDEST_NAME: usize = 40;

/// A column of numbers or words.
pub(super) struct Column {
    name: &'static str,
    width: usize,
    /// Whether it is left out where not all columns fit.
    is_optional: bool,
}

impl Column {
    /// A column that is always shown, at least as wide as that.
    pub(super) const fn always(name: &'static str, width: usize) -> Self {
        Self { name, width, is_optional: false }
    }

    /// A column that is shown where all fit.
    pub(super) const fn wide(name: &'static str, width: usize) -> Self {
        Self { name, width, is_optional: true }
    }
}

/// The columns that fit into `width`, with their header, after that of the names, which has the rest.
pub(super) fn table(names: &'static str, columns: &[Column], rows: Vec<Cells>, width: u16) -> Table<'static> {
    let widest = |index: usize| rows.iter().filter_map(|cells| cells.get(index)).map(Line::width).max().unwrap_or(0);
    let widths = columns.iter().enumerate().map(|(index, column)| column.width.max(widest(index + 1)));
    let widths: Vec<usize> = widths.collect();
    let fits = NAME + widths.iter().map(|width| 1 + width).sum::<usize>() <= usize::from(width);
    let shown: Vec<bool> = columns.iter().map(|column| fits || !column.is_optional).collect();
    let widths: Vec<usize> =
        widths.into_iter().zip(&shown).filter(|(_, shown)| **shown).map(|(width, _)| width).collect();
    let name = usize::from(width).saturating_sub(widths.iter().map(|width| 1 + width).sum()).min(WIDEST_NAME);
    let keep = |cells: Cells| {
        let mut cells = cells.into_iter();
        let first = cells.next().map(|line| Line::from(cut(&line.to_string(), name)).style(line.style));
        let others = cells.zip(&shown).filter(|(_, shown)| **shown).map(|(cell, _)| cell);
        Row::new(first.into_iter().chain(others))
    };
    let header = columns.iter().map(|column| Line::from(column.name).right_aligned());
    let header = keep(std::iter::once(Line::from(names)).chain(header).collect()).dim();
    let widths = std::iter::once(name).chain(widths);
    let widths = widths.map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    Table::new(rows.into_iter().map(keep), widths.collect::<Vec<_>>()).column_spacing(1).header(header)
}
