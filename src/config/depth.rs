//! How deep a YAML text may go: whoever reads one that goes deeper than anybody writes would run out of stack, and take the
//! whole process along.

use std::collections::HashMap;

use saphyr::ScanError;
use saphyr_parser::{Event, Parser};

/// Lists and sections within each other.
const DEEPEST: usize = 64;

/// A list or section that is still open.
struct Open {
    anchor: usize,
    /// Levels in it so far, its own included.
    levels: usize,
}

/// # Errors
/// Where it goes too deep, also by an alias, or is no YAML.
pub(super) fn check(yaml: &str) -> Result<(), ScanError> {
    let mut open: Vec<Open> = Vec::new();
    // By anchor.
    let mut closed: HashMap<usize, usize> = HashMap::new();
    for event in Parser::new_from_str(yaml) {
        let (event, span) = event?;
        let levels = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push(Open { anchor, levels: 1 });
                0
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open { anchor, levels }) => {
                    closed.insert(anchor, levels);
                    levels
                }
                None => 0,
            },
            Event::Alias(anchor) => closed.get(&anchor).copied().unwrap_or_default(),
            _ => 0,
        };
        if open.len() + levels > DEEPEST {
            let info = format!("more than {DEEPEST} levels");
            return Err(ScanError::new(span.start, info));
        }
        if let Some(above) = open.last_mut() {
            above.levels = above.levels.max(levels + 1);
        }
    }
    Ok(())
}
