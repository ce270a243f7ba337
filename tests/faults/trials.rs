//! The checker itself is tried before each run: a good history passes, and one with each thing that must not be does not.

use std::time::Duration;

use crate::checker::{Allowed, judge};
use crate::history::{Line, Row, Said, Turn};

/// Two servers that are well for a minute, the first of which owns one asset, looked at every five seconds.
fn good() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |at: u64, said: Said| {
        lines.push(Line {
            at: Duration::from_millis(at),
            said,
        });
    };
    for to in [0, 1] {
        let turn = Turn::Well;
        add(0, Said::Done { to, turn });
    }
    for tenth in 0..600 {
        let at = tenth * 100;
        add(at, Said::Roll((0..2).map(|of| row(of, "online", "a")).collect()));
        if tenth % 50 == 0 {
            add(at + 10, Said::Look { asset: 1 });
            add(at + 50, Said::Check { by: 0, asset: 1 });
        }
        if tenth % 4 == 0 {
            let states = vec![(0, "online".to_owned()), (1, "online".to_owned())];
            let took = Duration::from_millis(20);
            add(at + 60, Said::Page { by: 1, took, states });
        }
    }
    lines
}

fn row(of: usize, state: &str, boot: &str) -> Row {
    Row {
        of,
        state: state.to_owned(),
        lives: matches!(state, "online" | "late"),
        beats: 1,
        boot: boot.to_owned(),
    }
}

/// Changes the rows of one server from some second on.
fn from(lines: &mut [Line], second: u64, server: usize, change: impl Fn(&mut Row)) {
    for line in lines.iter_mut().filter(|line| line.at >= Duration::from_secs(second)) {
        if let Said::Roll(rows) = &mut line.said {
            rows.iter_mut().filter(|row| row.of == server).for_each(&change);
        }
    }
}

fn with(mut lines: Vec<Line>, second: u64, said: Said) -> Vec<Line> {
    lines.push(Line {
        at: Duration::from_secs(second),
        said,
    });
    lines.sort_by_key(|line| line.at);
    lines
}

/// Stops where the checker lets something pass, or finds fault with what is good.
pub(crate) fn prove() {
    let found = judge(&good(), Allowed::default());
    assert!(found.is_empty(), "{found:?}");
    let killed = Said::Done {
        to: 1,
        turn: Turn::Killed,
    };
    let mut offline = good();
    from(&mut offline, 30, 1, |row| *row = self::row(1, "offline", "a"));
    let mut back = good();
    from(&mut back, 30, 1, |row| "b".clone_into(&mut row.boot));
    from(&mut back, 40, 1, |row| "a".clone_into(&mut row.boot));
    let odd_page = good().into_iter().map(|mut line| {
        if let Said::Page { states, .. } = &mut line.said {
            "late".clone_into(&mut states[0].1);
        }
        line
    });
    let slow_page = good().into_iter().map(|mut line| {
        if let Said::Page { took, .. } = &mut line.said {
            *took = Duration::from_secs(9);
        }
        line
    });
    let unseen = good()
        .into_iter()
        .filter(|line| line.at < Duration::from_secs(20) || !matches!(line.said, Said::Check { .. }));
    // Each server is cut off at last, and was well long enough before.
    let cut = |lines: Vec<Line>, to: usize| with(lines, 55, Said::Done { to, turn: Turn::Cut });
    let unseen_before = cut(cut(unseen.clone().collect(), 0), 1);
    let twice = with(good(), 30, Said::Look { asset: 1 });
    let foreign = with(good(), 31, Said::Check { by: 1, asset: 1 });
    for (what, lines) in [
        ("well and shown offline", offline),
        ("Killed and shown online", with(good(), 10, killed)),
        ("back with an old holder", back),
        ("the database does not", odd_page.collect()),
        ("a page of server", slow_page.collect()),
        ("nobody looked at asset", unseen.collect()),
        ("nobody looked at asset", unseen_before),
        ("looked at twice", twice),
        ("which is not its own", foreign),
    ] {
        let found = judge(&lines, Allowed::default());
        assert!(
            found.iter().any(|found| found.contains(what)),
            "{what} is not found: {found:?}"
        );
    }
}
