//! A cell of a CSV, written so that no spreadsheet takes it for a formula, and read again as it was.

/// What spreadsheets take for the beginning of a formula, or skip before one.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// RFC 4180; a cell that a spreadsheet would take for a formula begins with an apostrophe.
pub fn quoted(cell: &str) -> String {
    let guard = if needs_guard(cell) { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

/// A cell that [`quoted`] wrote, as it was before.
pub fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(plain) if needs_guard(plain) => plain,
        _ => cell,
    }
}

/// Apostrophes in front are looked past, so that one more or less of them can be told apart.
fn needs_guard(cell: &str) -> bool {
    let bare = cell.trim_start_matches('\'');
    bare.starts_with(FORMULA)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FORMULA, quoted, unguarded};
    use crate::odd;

    #[test]
    fn no_cell_breaks_out_or_is_taken_for_a_formula() {
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("it's"), "\"it's\"");
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for cell in ["", "web", "=1+1", "'=1+1", "''@x", "'", "'x'", "＝1", "-"] {
            let written = quoted(cell);
            assert_eq!(unguarded(&written[1..written.len() - 1]), cell);
        }
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn any_row_is_read_as_it_was_and_nothing_in_it_is_a_formula(
            cells in proptest::collection::vec(odd::text(&["=1+1", "'-x", "''＝1", "a \"b\", c\r\n@d"]), 1..5),
        ) {
            let row = cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_bytes());
            let read: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert!(read[0].iter().all(|cell| !cell.starts_with(FORMULA)));
            prop_assert_eq!(read[0].iter().map(unguarded).collect::<Vec<_>>(), cells);
        }
    }
}
