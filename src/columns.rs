//! Tables of text for a terminal: columns without borders, numbers to the right, no spaces at the ends of lines.

use comfy_table::{CellAlignment, Row, Table, presets};

/// An empty table with this header. `is_number`: whether a column, from 0, is aligned to the right. `padding`: the spaces left
/// and right of each cell.
pub(crate) fn aligned_table(header: impl Into<Row>, is_number: impl Fn(usize) -> bool, padding: (u16, u16)) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding(padding);
        column.set_cell_alignment(if is_number(at) { CellAlignment::Right } else { CellAlignment::Left });
    }
    table
}

/// The lines of a table, without the spaces that fill up its last column.
pub(crate) fn lines(table: &Table) -> impl Iterator<Item = String> {
    table.lines().map(|line| line.trim_end().to_owned())
}
