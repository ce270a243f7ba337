//! This server's log on disk, rotated, and its last lines in memory for whoever watches.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use flexi_logger::writers::FileLogWriter;
use flexi_logger::{Age, Cleanup, Criterion, FileSpec, Naming};
use tokio::sync::watch;
use tracing::Level;

/// In the data directory.
const DIRECTORY: &str = "log";
/// A new file at midnight or from this many bytes on, whichever comes first.
const MOST_BYTES: u64 = 10 * 1024 * 1024;
/// Former files that are kept.
const KEPT_FILES: usize = 14;
/// Lines in memory.
const KEPT_LINES: usize = 2000;
/// How long a search may read files; one at a time.
const SEARCH: Duration = Duration::from_secs(3);
/// Lines that may wait for a slow disk; more are kept in memory only.
const WAITING_LINES: usize = 4096;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in microseconds since 1970; no two lines of a server have the same, and later ones have more.
    pub at_us: u64,
    /// The whole line, beginning with that time.
    pub text: Arc<str>,
}

impl Line {
    /// Reads a line of the file; none for what is no line of ours.
    fn parse(text: &str) -> Option<Line> {
        let at = DateTime::parse_from_rfc3339(text.split(' ').next()?).ok()?;
        let at_us = u64::try_from(at.timestamp_micros()).ok()?;
        Some(Line {
            at_us,
            text: text.into(),
        })
    }

    pub fn at(&self) -> Option<chrono::NaiveDateTime> {
        let at = DateTime::from_timestamp_micros(i64::try_from(self.at_us).ok()?)?;
        Some(at.naive_utc())
    }

    /// Time, install id and boot id, level, and what is said.
    fn parts(&self) -> (&str, Option<Level>, &str) {
        let rest = self.text.split_once(' ').map_or("", |(_, rest)| rest);
        let (who, rest) = rest.split_once(' ').unwrap_or(("", rest));
        let rest = rest.trim_start();
        let (level, said) = rest.split_once(' ').unwrap_or((rest, ""));
        (who, Level::from_str(level).ok(), said)
    }

    pub fn level(&self) -> Option<Level> {
        self.parts().1
    }

    pub fn said(&self) -> &str {
        self.parts().2
    }
}

/// Which lines somebody wants to see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// This serious at least.
    pub level: Option<Level>,
    /// Contains this, whatever the case.
    pub text: String,
}

impl Filter {
    /// `part` is the text in lower case.
    fn fits(&self, line: &Line, part: &str) -> bool {
        let serious = self
            .level
            .is_none_or(|least| line.level().is_some_and(|level| level <= least));
        serious && (part.is_empty() || line.text.to_lowercase().contains(part))
    }
}

/// What a search found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// The time was over before all files were read.
    pub is_cut_off: bool,
}

/// The last lines.
#[derive(Debug, Default)]
struct Recent {
    lines: VecDeque<Line>,
    /// The number of the last line before them: whoever has seen it can be told the rest from here.
    before: u64,
    /// Lines that the disk was too slow for.
    lost: u64,
}

/// The log of one server.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    lines: Mutex<Recent>,
    /// The number of the last line.
    last: watch::Sender<u64>,
    /// To the thread that writes: a disk that hangs must not hold up whoever logs.
    queue: Mutex<Option<SyncSender<Arc<str>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the log below the data directory and goes on where it ended.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn open(data: &Path) -> io::Result<Store> {
        let directory = data.join(DIRECTORY);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let spec = FileSpec::default()
            .directory(&directory)
            .basename("muster")
            .suffix("log");
        let naming = Naming::TimestampsCustomFormat {
            current_infix: Some(""),
            format: "%Y-%m-%d_%H-%M-%S",
        };
        let (file, handle) = FileLogWriter::builder(spec)
            .append()
            .rotate(
                Criterion::AgeOrSize(Age::Day, MOST_BYTES),
                naming,
                Cleanup::KeepLogFiles(KEPT_FILES),
            )
            .cleanup_in_background_thread(false)
            .try_build_with_handle()
            .map_err(io::Error::other)?;
        let (queue, lines) = sync_channel(WAITING_LINES);
        let writer = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_all(&lines, file);
            drop(handle);
        })?;
        let store = Store {
            directory,
            lines: Mutex::default(),
            last: watch::Sender::new(0),
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
        };
        let known = store.search(&Filter::default(), 1)?;
        let last = known.lines.last().map_or(0, |line| line.at_us);
        store.last.send_replace(last);
        store.recent().before = last;
        Ok(store)
    }

    /// Adds a line. Line ends within it are written as `\n`, so that nobody can forge one.
    pub fn write(&self, said: &str) {
        #[expect(clippy::disallowed_methods, reason = "the time of a log line decides nothing")]
        let now = Utc::now();
        let said = said.trim_end().replace('\n', "\\n").replace('\r', "\\r");
        let mut recent = self.recent();
        let at_us = u64::try_from(now.timestamp_micros())
            .unwrap_or(0)
            .max(*self.last.borrow() + 1);
        let at = DateTime::from_timestamp_micros(i64::try_from(at_us).unwrap_or(0)).unwrap_or(now);
        let text: Arc<str> = format!("{} {said}", at.to_rfc3339_opts(SecondsFormat::Micros, true)).into();
        if recent.lines.len() == KEPT_LINES {
            recent.before = recent.lines.pop_front().map_or(0, |line| line.at_us);
        }
        recent.lines.push_back(Line {
            at_us,
            text: text.clone(),
        });
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            recent.lost += u64::from(queue.try_send(text).is_err());
            // The gap is told where it is, once there is room again.
            if recent.lost > 0
                && queue
                    .try_send(format!("# {} lines were not written", recent.lost).into())
                    .is_ok()
            {
                recent.lost = 0;
            }
        }
        self.last.send_replace(at_us);
    }

    /// Tells when there are new lines.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The lines after one of them, if all of these are still in memory.
    pub fn after(&self, at_us: u64, filter: &Filter) -> Option<Vec<Line>> {
        let recent = self.recent();
        let part = filter.text.to_lowercase();
        let later = recent
            .lines
            .iter()
            .filter(|line| line.at_us > at_us && filter.fits(line, &part));
        (at_us >= recent.before).then(|| later.cloned().collect())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines that fit, from the files and from memory, as far back as three seconds reach. Reads files: not for async code.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn search(&self, filter: &Filter, most: usize) -> io::Result<Found> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, part) = (Instant::now() + SEARCH, filter.text.to_lowercase());
        let mut is_cut_off = false;
        let in_memory: Vec<Line> = self.recent().lines.iter().cloned().collect();
        let from = in_memory.first().map_or(u64::MAX, |line| line.at_us);
        let mut found: VecDeque<Line> = in_memory.into_iter().filter(|line| filter.fits(line, &part)).collect();
        for path in self.files()?.iter().rev() {
            is_cut_off = Instant::now() > until;
            if found.len() >= most || is_cut_off {
                break;
            }
            let Ok(file) = File::open(path) else {
                // Cleaned up just now.
                continue;
            };
            let mut inside = VecDeque::new();
            for text in BufReader::new(file).split(b'\n') {
                let Some(line) = Line::parse(&String::from_utf8_lossy(&text?)) else {
                    continue;
                };
                if line.at_us < from && filter.fits(&line, &part) {
                    inside.push_back(line);
                    if inside.len() > most {
                        inside.pop_front();
                    }
                }
            }
            while let Some(line) = inside.pop_back() {
                found.push_front(line);
            }
        }
        let surplus = found.len().saturating_sub(most);
        Ok(Found {
            lines: found.into_iter().skip(surplus).collect(),
            is_cut_off,
        })
    }

    /// The files, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_log = path.extension().is_some_and(|end| end == "log");
            // One may be cleaned up just now.
            if let (true, Ok(meta)) = (is_log, fs::metadata(&path)) {
                files.push((meta.modified()?, path));
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    /// Waits until what was said is on disk. What is said later is kept in memory only.
    pub fn close(&self) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

/// Where a disk does not take a line, it is in memory and on standard error.
fn write_all(lines: &Receiver<Arc<str>>, mut file: impl Write) {
    while let Ok(line) = lines.recv() {
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
    let _ = file.flush();
}

/// One event of the log, for the layer that writes here.
#[derive(Debug, Clone)]
pub(super) struct Writer(pub Arc<Store>);

impl Write for Writer {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write(&String::from_utf8_lossy(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(Line::said).collect()
    }

    #[test]
    fn lines_are_found_by_level_and_text_also_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        store.write("7a175577/5c1e  INFO first");
        assert_eq!(said(&store.after(0, &Filter::default()).unwrap()), ["first"]);
        store.write("7a175577/5c1e  WARN second\nforged 2026-01-01T00:00:00Z line");
        store.write("7a175577/5c1e ERROR DEFAULT 集群ID冲突：7a17 默认集群");
        store.close();
        let store = Store::open(data.path()).unwrap();
        store.write("7a175577/9999  INFO third");
        let all = store.search(&Filter::default(), 10).unwrap().lines;
        assert_eq!(all.len(), 4, "a line end inside makes no second line");
        assert!(all.windows(2).all(|two| two[0].at_us < two[1].at_us));
        assert_eq!(
            said(&store.search(&Filter::default(), 2).unwrap().lines),
            ["DEFAULT 集群ID冲突：7a17 默认集群", "third"]
        );
        let errors = Filter {
            level: Some(Level::ERROR),
            text: "冲突".to_owned(),
        };
        assert_eq!(
            said(&store.search(&errors, 10).unwrap().lines),
            ["DEFAULT 集群ID冲突：7a17 默认集群"]
        );
        let warnings = Filter {
            level: Some(Level::WARN),
            text: String::new(),
        };
        assert_eq!(store.search(&warnings, 10).unwrap().lines.len(), 2);
        // Whoever saw the second line before the restart goes on from there: not from memory alone.
        assert_eq!(store.after(all[1].at_us, &Filter::default()), None);
        assert_eq!(said(&store.after(all[2].at_us, &Filter::default()).unwrap()), ["third"]);
        assert_eq!(store.after(all[3].at_us, &Filter::default()), Some(Vec::new()));
    }

    #[test]
    fn files_are_turned_over_by_size_and_few_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let long = format!("7a175577/5c1e  INFO {}", "x".repeat(1024 * 1024));
        for _ in 0..200 {
            // Waits for the disk, as a busy server would not.
            while store
                .queue
                .lock()
                .unwrap()
                .as_ref()
                .unwrap()
                .try_send(long.as_str().into())
                .is_err()
            {
                std::thread::yield_now();
            }
        }
        store.close();
        let files = store.files().unwrap();
        assert_eq!(files.len(), KEPT_FILES + 1, "{files:?}");
        assert!(
            files
                .iter()
                .all(|file| fs::metadata(file).unwrap().len() < MOST_BYTES + 2 * 1024 * 1024)
        );
        assert!(files.last().unwrap().ends_with("muster.log"), "{files:?}");
    }
}
