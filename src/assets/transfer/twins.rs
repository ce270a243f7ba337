//! Which line of a file means which asset: by kind and address, and where several are at one address, by name.

use std::collections::HashMap;

use super::file::Cells;
use crate::assets::described::Saved;
use crate::assets::kind::Kind;
use crate::groups::name_key;

/// Where an asset is.
pub type Place = (Kind, String);

/// Of more lines than these at one place it is not asked which is which: nobody means that, and it would take long.
const MOST_AT_ONE: usize = 100;

/// The lines of a file by the place that they name: number and compared name, in the order of the file.
#[derive(Debug, Default)]
pub struct Lines(HashMap<Place, Vec<(u64, String)>>);

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant {
    New,
    /// The asset at that place among those that are saved there.
    Saved(usize),
    /// A line above has the same kind, address and name.
    Again(u64),
    /// Of several at this address none has this name.
    Unclear,
}

impl Lines {
    pub fn of<'a>(lines: impl Iterator<Item = (&'a Cells, Option<&'a Place>)>) -> Lines {
        let mut all = Lines::default();
        for (cells, place) in lines {
            if let Some(place) = place {
                let line = (cells.number, name_key(cells.of("name")));
                all.0.entry(place.clone()).or_default().push(line);
            }
        }
        all
    }

    pub fn are_several(&self, place: &Place) -> bool {
        self.0.get(place).is_some_and(|lines| lines.len() > 1)
    }

    /// What a line means beside the others of its place; `saved` in the order of their ids.
    pub fn meant(&self, place: &Place, number: u64, saved: &[Saved]) -> Meant {
        let names: Vec<&str> = saved.iter().map(|saved| saved.row.name_key.as_str()).collect();
        match self.0.get(place).map_or(&[] as &[_], Vec::as_slice) {
            many if many.len() > MOST_AT_ONE => Meant::Unclear,
            lines => meant(lines, number, &names),
        }
    }
}

/// Those of the same name belong together, the first with the first. One asset that is left is the one line that is left: it has
/// another name now.
fn meant(lines: &[(u64, String)], number: u64, saved: &[&str]) -> Meant {
    let mut is_taken = vec![false; saved.len()];
    let mut left: Vec<&(u64, String)> = Vec::new();
    for line in lines {
        let same = (0..saved.len()).find(|at| !is_taken[*at] && saved[*at] == line.1);
        match same {
            Some(at) if line.0 == number => return Meant::Saved(at),
            Some(at) => is_taken[at] = true,
            None => left.push(line),
        }
    }
    let free: Vec<usize> = (0..saved.len()).filter(|at| !is_taken[*at]).collect();
    match (left.as_slice(), free.as_slice()) {
        (_, []) => {
            let own = lines.iter().find(|line| line.0 == number);
            let above = lines
                .iter()
                .find(|line| line.0 < number && own.is_some_and(|own| own.1 == line.1));
            above.map_or(Meant::New, |(first, _)| Meant::Again(*first))
        }
        ([_], [at]) => Meant::Saved(*at),
        _ => Meant::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str], saved: &[&str]) -> Vec<Meant> {
        let lines: Vec<(u64, String)> = (2..).zip(names.iter().map(|name| (*name).to_owned())).collect();
        lines.iter().map(|(number, _)| meant(&lines, *number, saved)).collect()
    }

    #[test]
    fn one_line_and_one_asset_belong_together_whatever_their_names() {
        assert_eq!(all(&["b"], &["a"]), [Meant::Saved(0)]);
        assert_eq!(all(&["a", "c"], &["a", "b"]), [Meant::Saved(0), Meant::Saved(1)]);
    }

    #[test]
    fn several_at_one_address_are_told_apart_by_name_and_then_by_order() {
        assert_eq!(all(&["b", "a"], &["a", "b"]), [Meant::Saved(1), Meant::Saved(0)]);
        assert_eq!(all(&["a", "a"], &["a", "a"]), [Meant::Saved(0), Meant::Saved(1)]);
        assert_eq!(all(&["a"], &["a", "b"]), [Meant::Saved(0)]);
    }

    #[test]
    fn what_has_no_counterpart_is_new_unless_it_is_there_twice() {
        assert_eq!(all(&["a", "b", "a"], &[]), [Meant::New, Meant::New, Meant::Again(2)]);
        assert_eq!(
            all(&["b", "a", "a"], &["a"]),
            [Meant::New, Meant::Saved(0), Meant::Again(3)]
        );
    }

    #[test]
    fn nobody_guesses() {
        assert_eq!(all(&["c"], &["a", "b"]), [Meant::Unclear]);
        assert_eq!(all(&["b", "c"], &["a"]), [Meant::Unclear, Meant::Unclear]);
    }
}
