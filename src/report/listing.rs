//! Lists of objects in aligned columns, cut to the room there is. Whatever is left out is counted.

use super::escape::{LONGEST, clipped, fence, visible};

/// No column is padded beyond this: one long name must not push every other line to the right.
const WIDEST: usize = 48;
/// Room for "… and 3 more, in the step summary.".
const TAIL: usize = 96;

/// A part of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its text: empty, or whole lines.
    pub text: String,
    /// How many objects it should name and does not.
    pub omitted: usize,
}

/// One object's lines in a list.
pub type Entry = Vec<String>;

/// Rows as lines with aligned columns.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| clipped(&visible(text), LONGEST)).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| Some(row.get(column)?.chars().count()));
        widths.filter(|width| *width <= WIDEST).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Puts a line above the first of each run of entries with the same title.
pub fn grouped(entries: impl IntoIterator<Item = (String, String)>) -> Vec<Entry> {
    let mut last = None;
    let mut grouped = Vec::new();
    for (title, line) in entries {
        let entry = vec![format!("  {line}")];
        grouped.push(if last.as_ref() == Some(&title) { entry } else { [vec![title.clone()], entry].concat() });
        last = Some(title);
    }
    grouped
}

/// As many entries as `room` bytes hold, in one fence, and how many there are more.
pub fn fenced(language: &str, entries: &[Entry], room: usize, rest: &str) -> Section {
    cut(entries.len(), room, rest, |shown| fence(language, entries[..shown].iter().flatten().map(String::as_str)))
}

/// As many lines as `room` bytes hold, and how many there are more; `prefix` begins the line that says so.
pub fn lined(lines: &[String], room: usize, prefix: &str, rest: &str) -> Section {
    let mut section =
        cut(lines.len(), room, rest, |shown| lines[..shown].iter().map(|line| format!("{line}\n")).collect());
    if section.omitted > 0 {
        let at = section.text.rfind('…').unwrap_or_default();
        section.text.insert_str(at, prefix);
    }
    section
}

/// The most of `count` things whose text fits.
fn cut(count: usize, room: usize, rest: &str, text: impl Fn(usize) -> String) -> Section {
    let all = text(count);
    if all.len() <= room {
        return Section { text: all, omitted: 0 };
    }
    // A longer text is a longer prefix: the first count that does not fit is found by halving.
    let (mut fits, mut too_many) = (0, count);
    while too_many - fits > 1 {
        let half = usize::midpoint(fits, too_many);
        if text(half).len() + TAIL <= room { fits = half } else { too_many = half }
    }
    let (shown, omitted) = (if fits == 0 { String::new() } else { text(fits) }, count - fits);
    let more = if fits == 0 { "not shown" } else { "more" };
    let and = if fits == 0 { "" } else { "and " };
    Section { text: format!("{shown}… {and}{omitted} {more}{rest}.\n"), omitted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_a_long_cell_moves_its_own_line_alone() {
        let rows = [vec!["a".into(), "bb".into()], vec!["ccc".into(), "d\n".into()], vec!["e".repeat(50), "f".into()]];
        assert_eq!(columns(&rows), ["a    bb", "ccc  d\\n", &format!("{}  f", "e".repeat(50))]);
    }

    #[test]
    fn titles_stand_once_above_their_entries() {
        let entries = [("x", "1"), ("x", "2"), ("y", "3")].map(|(title, line)| (title.to_owned(), line.to_owned()));
        assert_eq!(grouped(entries), [vec!["x", "  1"], vec!["  2"], vec!["y", "  3"]]);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_fence_is_closed() {
        let entries: Vec<Entry> = (0..100).map(|n| vec![format!("line {n:03}")]).collect();
        for room in [0, 50, 97, 200, 500, 899, 916] {
            let Section { text, omitted } = fenced("diff", &entries, room, ", elsewhere");
            let shown = text.matches("line ").count();
            assert_eq!(shown + omitted, 100);
            assert!(text.len() <= room.max(TAIL), "{room}: {}", text.len());
            assert_eq!(text.matches("```").count(), if shown > 0 { 2 } else { 0 });
            assert!(omitted == 0 || text.contains(&format!("{omitted} ")), "{text}");
        }
        assert_eq!(fenced("diff", &entries, 1000, "").omitted, 0);
        let lines = ["- a".to_owned(), "- b".to_owned()];
        assert_eq!(lined(&lines, 7, "- ", ", elsewhere").text, "- … 2 not shown, elsewhere.\n");
    }
}
