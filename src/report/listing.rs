//! Lists of objects in aligned columns, cut to a given size. A list says how many entries are left out.

use super::escape::{LONGEST, clipped, fence, fence_ticks, longest_run, visible};

/// The maximum width of a padded column, in characters. A longer cell moves only the rest of its own line to the right.
const WIDEST: usize = 48;
/// The number of bytes that are reserved for the line "… and 3 more, in the step summary.".
const TAIL: usize = 96;

/// A part of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// The text: empty, or complete lines.
    pub text: String,
    /// The number of objects that are left out.
    pub omitted: usize,
}

/// The lines of one object in a list.
pub(crate) type Entry = Vec<String>;

/// Returns one line for each row, with aligned columns.
pub(crate) fn columns(rows: &[Vec<String>]) -> Vec<String> {
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

/// Puts a title line above each group of successive entries with the same title.
pub(crate) fn grouped(entries: impl IntoIterator<Item = (String, String)>) -> Vec<Entry> {
    let mut last = None;
    let mut grouped = Vec::new();
    for (title, line) in entries {
        let entry = vec![format!("  {line}")];
        grouped.push(if last.as_ref() == Some(&title) { entry } else { [vec![title.clone()], entry].concat() });
        last = Some(title);
    }
    grouped
}

/// Returns a fence with as many entries as fit into `room` bytes, and the number of entries that are left out.
pub(crate) fn fenced(language: &str, entries: &[Entry], room: usize, rest: &str) -> Section {
    let (mut body, mut ticks) = (0, 0);
    let sizes = entries.iter().map(|entry| {
        for line in entry.iter().map(|line| visible(line)) {
            body += line.len() + 1;
            ticks = ticks.max(fence_ticks(longest_run(&line)));
        }
        2 * ticks + language.len() + 2 + body
    });
    let text = |shown: usize| fence(language, entries[..shown].iter().flatten().map(String::as_str));
    cut(entries.len(), sizes, room, "", rest, text)
}

/// Returns as many lines as fit into `room` bytes, and the number of lines that are left out. `prefix` starts the line
/// with that number.
pub(crate) fn lined(lines: &[String], room: usize, prefix: &str, rest: &str) -> Section {
    let sizes = lines.iter().scan(0, |size, line| {
        *size += line.len() + 1;
        Some(*size)
    });
    let text = |shown: usize| lines[..shown].iter().flat_map(|line| [line, "\n"]).collect();
    cut(lines.len(), sizes, room, prefix, rest, text)
}

/// Returns the text with as many of `count` items as fit into `room` bytes. `sizes` yields the size of the text with
/// one item, with two items, and so on.
fn cut(
    count: usize,
    sizes: impl Iterator<Item = usize>,
    room: usize,
    prefix: &str,
    rest: &str,
    text: impl Fn(usize) -> String,
) -> Section {
    let (mut alone, mut with_tail) = (0, 0);
    for size in sizes.take_while(|size| *size <= room) {
        alone += 1;
        if size + TAIL <= room {
            with_tail = alone;
        }
    }
    if alone == count {
        return Section { text: text(count), omitted: 0 };
    }
    let omitted = count - with_tail;
    let text = if with_tail == 0 {
        format!("{prefix}… {omitted} not shown{rest}.\n")
    } else {
        format!("{}{prefix}… and {omitted} more{rest}.\n", text(with_tail))
    };
    Section { text, omitted }
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
    fn a_cut_list_is_as_long_as_was_counted() {
        let entries: Vec<Entry> =
            ["a", "``` x", "\u{202e}", "`````", "é"].map(|line| vec![line.to_owned(), "b".to_owned()]).to_vec();
        for room in 0..200 {
            let Section { text, omitted } = fenced("text", &entries, room, "");
            assert!(text.len() <= room.max(TAIL), "{room}: {text}");
            if omitted == 0 {
                assert_eq!(text, fence("text", entries.iter().flatten().map(String::as_str)));
                assert!(fenced("text", &entries, text.len() - 1, "").omitted > 0);
            }
        }
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
