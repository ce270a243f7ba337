//! Reading a CSV that people made with whatever program: its separator, its head, and its lines as cells by column.

use super::columns::{NEEDED, is_secret, known, label};
use super::jpom;
use crate::i18n::Text;
use crate::web::cell::unguarded;
use crate::web::form::LONGEST_FILE;

/// More are refused: each line costs some statements, and all are kept in memory.
pub const MOST_LINES: usize = 20_000;
/// Of the columns nobody knows, so many are named, each so long.
const MOST_UNKNOWN: usize = 10;
const LONGEST_UNKNOWN: usize = 30;

/// What a file says.
#[derive(Debug)]
pub struct Table {
    pub lines: Vec<Cells>,
    /// Words of the head that mean no column here.
    pub unknown: Vec<String>,
    /// There is a column for secrets.
    pub has_secrets: bool,
}

/// One line.
#[derive(Debug)]
pub struct Cells {
    /// Where it begins in the file, from 1.
    pub number: u64,
    /// Those that are not empty.
    pub cells: Vec<(&'static str, String)>,
    /// It has more cells than the head has columns.
    pub is_too_long: bool,
}

impl Cells {
    pub fn of(&self, column: &str) -> &str {
        let found = self.cells.iter().find(|(known, _)| *known == column);
        found.map_or("", |(_, cell)| cell)
    }
}

/// # Errors
/// Why it cannot be read at all, for the person. Nothing of the file is repeated: it may be full of passwords.
pub fn read(bytes: &[u8]) -> Result<Table, Text> {
    let text = text(bytes)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .delimiter(separator(text))
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let not_csv = |_| Text::new("transfer.not_csv");
    let head = match records.next() {
        Some(head) => head.map_err(not_csv)?,
        None => return Err(Text::new("transfer.empty")),
    };
    let words: Vec<&str> = head.iter().collect();
    let is_jpom = jpom::is_head(&words);
    let find = if is_jpom { jpom::known } else { known };
    let columns: Vec<Option<&'static str>> = words.iter().map(|word| find(word)).collect();
    if !is_jpom {
        check(&columns)?;
    }
    let mut table = Table {
        lines: Vec::new(),
        unknown: unknown(&words, &columns),
        has_secrets: is_jpom || columns.iter().flatten().any(|column| is_secret(column)),
    };
    let mut place = Place::default();
    for record in records {
        let record = record.map_err(not_csv)?;
        let number = place.line_at(text, record.position().map_or(0, |position| position.byte()));
        let cells = cells(&record, &columns, is_jpom);
        if cells.is_empty() {
            continue;
        }
        if table.lines.len() == MOST_LINES {
            return Err(Text::new("transfer.too_many").with("most", MOST_LINES));
        }
        table.lines.push(Cells {
            number,
            cells: if is_jpom { jpom::translated(cells) } else { cells },
            is_too_long: record.iter().skip(columns.len()).any(|cell| !cell.trim().is_empty()),
        });
    }
    match table.lines.is_empty() {
        true => Err(Text::new("transfer.empty")),
        false => Ok(table),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Text> {
    if bytes.len() > LONGEST_FILE {
        return Err(Text::new("error.file_long").with("most", LONGEST_FILE / 1024 / 1024));
    }
    let text = std::str::from_utf8(bytes).map_err(|cause| {
        let before = &bytes[..cause.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Text::new("transfer.not_utf8").with("line", line)
    })?;
    match text.contains('\0') {
        true => Err(Text::new("transfer.not_csv")),
        false => Ok(text.trim_start_matches('\u{feff}')),
    }
}

/// Whichever the head has most of.
fn separator(text: &str) -> u8 {
    let lines = text.lines().map(str::trim_start);
    let head = { lines }.find(|line| !line.is_empty() && !line.starts_with('#'));
    let count = |separator: &u8| {
        let head = head.unwrap_or_default().bytes();
        head.filter(|byte| byte == separator).count()
    };
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

fn check(columns: &[Option<&'static str>]) -> Result<(), Text> {
    if let Some(missing) = NEEDED.iter().find(|needed| !columns.contains(&Some(needed))) {
        return Err(Text::new("transfer.no_head").with("column", missing));
    }
    let mut seen = Vec::new();
    for column in columns.iter().flatten() {
        if seen.contains(column) {
            return Err(Text::new("transfer.twice").with_text("column", label(column)));
        }
        seen.push(*column);
    }
    Ok(())
}

fn unknown(words: &[&str], columns: &[Option<&'static str>]) -> Vec<String> {
    let strange = words
        .iter()
        .zip(columns)
        .filter(|(word, column)| column.is_none() && !word.trim().is_empty());
    let short = |word: &str| word.chars().filter(|c| !c.is_control()).take(LONGEST_UNKNOWN).collect();
    strange.take(MOST_UNKNOWN).map(|(word, _)| short(word)).collect()
}

fn cells(record: &csv::StringRecord, columns: &[Option<&'static str>], is_jpom: bool) -> Vec<(&'static str, String)> {
    let known = record
        .iter()
        .zip(columns)
        .filter_map(|(cell, column)| Some((cell, (*column)?)));
    let filled = known.filter(|(cell, _)| !cell.trim().is_empty());
    let plain = |cell, column| match is_jpom || is_secret(column) {
        true => cell,
        false => unguarded(cell),
    };
    filled
        .map(|(cell, column)| (column, plain(cell, column).to_owned()))
        .collect()
}

/// How far a file has been counted.
#[derive(Debug)]
struct Place {
    byte: usize,
    line: u64,
}

impl Default for Place {
    fn default() -> Place {
        Place { byte: 0, line: 1 }
    }
}

impl Place {
    /// The line on which a record begins. The reader gives the place where it began to look: remarks, empty lines and the end
    /// of the line before may still come.
    fn line_at(&mut self, text: &str, byte: u64) -> u64 {
        let bytes = text.as_bytes();
        let from = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
        let passed = &bytes[self.byte.min(from)..from];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.byte = from;
        while let Some(next) = bytes.get(self.byte) {
            match next {
                b'\n' => self.line += 1,
                b'\r' => {}
                b'#' => {
                    let rest = &bytes[self.byte..];
                    let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    self.byte += length;
                    continue;
                }
                _ => break,
            }
            self.byte += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_past_remarks_empty_lines_and_lines_within_a_cell() {
        for end in ["\n", "\r\n"] {
            let text = "\u{feff}kind,name\n\n#ssh,x\nssh,a\n# more\n\nssh,\"b\nc\"\nssh,d\n".replace('\n', end);
            let table = read(text.as_bytes()).unwrap();
            let numbers: Vec<u64> = table.lines.iter().map(|line| line.number).collect();
            assert_eq!(numbers, [4, 7, 9], "{end:?}");
        }
    }

    #[test]
    fn any_usual_separator_will_do() {
        for separator in [",", ";", "\t"] {
            let text = "类型,Name,host\nssh,a,h\n".replace(',', separator);
            let table = read(text.as_bytes()).unwrap();
            assert_eq!(table.lines[0].of("host"), "h");
        }
    }
}
