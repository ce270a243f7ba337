//! One page of a list that is walked by a key.

/// Rows on a page.
pub const PAGE: usize = 50;

/// On which side of a known row a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    After,
    Before,
}

impl Side {
    /// The word in addresses.
    pub fn word(self) -> &'static str {
        match self {
            Side::After => "after",
            Side::Before => "before",
        }
    }
}

/// The rows of a page, and the addresses of the pages beside it.
#[derive(Debug)]
pub struct Slice<R> {
    pub rows: Vec<R>,
    pub next: Option<String>,
    pub previous: Option<String>,
}

impl<R> Slice<R> {
    /// From what was read: one row more than a page when there is a further one, and those before a row from the last to the
    /// first. No side is the beginning of the list. `address` is that of the page on a side of a row.
    pub fn of(mut rows: Vec<R>, side: Option<Side>, address: impl Fn(Side, &R) -> String) -> Slice<R> {
        let has_more = rows.len() > PAGE;
        rows.truncate(PAGE);
        let (has_next, has_previous) = match side {
            None => (has_more, false),
            Some(Side::After) => (has_more, true),
            Some(Side::Before) => (true, has_more),
        };
        if side == Some(Side::Before) {
            rows.reverse();
        }
        let next = rows.last().filter(|_| has_next);
        let previous = rows.first().filter(|_| has_previous);
        Slice {
            next: next.map(|row| address(Side::After, row)),
            previous: previous.map(|row| address(Side::Before, row)),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(rows: impl Iterator<Item = usize>, side: Option<Side>) -> Slice<usize> {
        Slice::of(rows.collect(), side, |side, row| format!("{}={row}", side.word()))
    }

    #[test]
    fn a_page_knows_those_beside_it() {
        let first = slice(0..=PAGE, None);
        assert_eq!((first.rows.len(), first.previous), (PAGE, None));
        assert_eq!(first.next.as_deref(), Some("after=49"));
        let last = slice(50..60, Some(Side::After));
        assert_eq!((last.previous.as_deref(), last.next), (Some("before=50"), None));
        let back = slice((0..50).rev(), Some(Side::Before));
        assert_eq!((back.rows[0], back.previous), (0, None));
        assert_eq!(back.next.as_deref(), Some("after=49"));
        let middle = slice((9..60).rev(), Some(Side::Before));
        assert_eq!((middle.rows[0], middle.previous.as_deref()), (10, Some("before=10")));
        assert_eq!(slice(0..0, None).next, None);
    }
}
