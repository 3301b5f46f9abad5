//! Tables of the view of a drive: columns of fixed widths, some of which a narrow terminal goes without. They cut no number.

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

/// A column of a table.
pub(super) struct Column {
    name: &'static str,
    width: u16,
    /// Whether it is left out where not all columns fit.
    is_optional: bool,
}

impl Column {
    /// A column that is always shown.
    pub(super) const fn always(name: &'static str, width: u16) -> Self {
        Self { name, width, is_optional: false }
    }

    /// A column that is shown where all fit.
    pub(super) const fn wide(name: &'static str, width: u16) -> Self {
        Self { name, width, is_optional: true }
    }
}

/// The columns that fit into `width`, with their header.
pub(super) fn table(columns: &[Column], rows: Vec<Cells>, width: u16) -> Table<'static> {
    let fits = columns.iter().map(|column| column.width).sum::<u16>() <= width;
    let shown: Vec<bool> = columns.iter().map(|column| fits || !column.is_optional).collect();
    let keep =
        |cells: Cells| Row::new(cells.into_iter().zip(&shown).filter(|(_, shown)| **shown).map(|(cell, _)| cell));
    let header = columns.iter().enumerate().map(|(index, column)| {
        let line = Line::from(column.name);
        if index == 0 { line } else { line.right_aligned() }
    });
    let header = keep(header.collect()).dim();
    let widths = columns.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(column, _)| column.width);
    let widths: Vec<Constraint> = widths.map(Constraint::Length).collect();
    Table::new(rows.into_iter().map(keep), widths).column_spacing(0).header(header)
}
