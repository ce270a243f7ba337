//! Reading a CSV that people made with whatever program: its separator, its head, and its lines as cells by column.

use super::columns::{NEEDED, is_secret, known, label};
use super::jpom;
use crate::i18n::Text;
use crate::web::cell::unguarded;
use crate::web::form::LONGEST_FILE;

/// More are refused: each line costs some statements, and all are kept in memory.
pub const MOST_LINES: usize = 20_000;
/// A head with more columns is none: each word of it is compared with all names of ours.
const MOST_COLUMNS: usize = 1000;
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
    if head.len() > MOST_COLUMNS {
        return Err(Text::new("transfer.not_csv"));
    }
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
    use proptest::prelude::*;

    use super::*;
    use crate::odd;
    use crate::web::cell::quoted;

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

    const SAMPLES: [&str; 4] = [
        "\u{feff}kind,name,group,colour\n\n#ssh,x\nssh,a,g,red\n# more\nssh,\"b\nc\",'=g\n",
        "类型;Name;host;password\r\nssh;a;h;s3cret\r\n",
        "name\tgroupName\thost\tport\tuser\tpassword\tcharset\tconnectType\tprivateKey\ttimeout\na\tg\th\t22\tu\ts3cret\tutf8\tPUBKEY\tfile:/k\t0\n",
        "kind,kind\n",
    ];

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_a_file_holds_its_lines_are_in_order_and_a_refusal_repeats_no_secret(bytes in odd::bytes(&SAMPLES)) {
            match read(&bytes) {
                Ok(table) => {
                    let ends = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                    let numbers: Vec<u64> = table.lines.iter().map(|line| line.number).collect();
                    // A line may end with a carriage return alone, which counts as none.
                    prop_assert!(numbers.is_sorted() && numbers.iter().all(|number| (1..=ends + 1).contains(number)), "{:?}", numbers);
                    prop_assert!(table.unknown.len() <= MOST_UNKNOWN);
                    prop_assert!(table.unknown.iter().all(|word| word.chars().count() <= LONGEST_UNKNOWN));
                    let cells = table.lines.iter().flat_map(|line| &line.cells);
                    prop_assert!(cells.map(|(_, cell)| cell.len()).sum::<usize>() <= bytes.len() + 10 * table.lines.len());
                }
                Err(text) => {
                    let said = text.say(crate::i18n::Lang::En);
                    prop_assert!(said.len() < 300 && !said.contains("s3cret"), "{}", said);
                }
            }
        }

        #[test]
        fn what_is_exported_comes_back(rows in proptest::collection::vec((odd::junk(), odd::junk()), 1..6)) {
            // No asset has such a name: it could not be saved.
            let rows: Vec<_> = rows.iter().map(|(name, group)| [name.replace('\0', ""), group.replace('\0', "")]).collect();
            let written: String = rows
                .iter()
                .map(|row| format!("{},{},{}\r\n", quoted("ssh"), quoted(&row[0]), quoted(&row[1])))
                .collect();
            let table = read(format!("kind,name,group\r\n{written}").as_bytes()).unwrap();
            prop_assert_eq!(table.lines.len(), rows.len());
            for (line, [name, group]) in table.lines.iter().zip(&rows) {
                for (column, cell) in [("name", name), ("group", group)] {
                    let (kept, is_empty) = (line.of(column), cell.trim().is_empty());
                    prop_assert!(kept == cell || is_empty && kept.trim().is_empty(), "{:?}", kept);
                }
            }
        }
    }

    #[test]
    fn a_head_of_very_many_columns_is_refused_before_it_is_looked_through() {
        let began = std::time::Instant::now();
        for head in [
            "kind,name".to_owned() + &",".repeat(LONGEST_FILE - 100),
            "name,".repeat(500_000),
        ] {
            assert!(read(format!("{head}\nssh,a\n").as_bytes()).is_err());
        }
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }
}
