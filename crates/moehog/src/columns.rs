//! Two texts beside each other, as wide as the terminal.

use std::io::{self, IsTerminal};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns where the output is no terminal.
const WIDTH: usize = 80;
/// Between the two.
const BETWEEN: &str = " │ ";
/// Fewest columns of one text: a terminal that has no room for two gets longer lines.
const MIN_COLUMN: usize = 16;

/// Columns of the terminal that the output goes to.
pub(crate) fn width() -> usize {
    let terminal = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    terminal.map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// Two columns of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) left: usize,
    pub(crate) right: usize,
}

impl Columns {
    /// Two columns in so many.
    pub(crate) fn of(width: usize) -> Self {
        let left = (width.saturating_sub(BETWEEN.len() - 2) / 2).max(MIN_COLUMN);
        Self { left, right: width.saturating_sub(left + 3).max(MIN_COLUMN) }
    }

    /// The lines beside each other, what is too long in several; `paint` colours the left.
    pub(crate) fn beside(self, left: &[String], right: &[String], paint: impl Fn(&str) -> String) -> String {
        let fold = |lines: &[String], width| lines.iter().flat_map(|line| folded(line, width)).collect::<Vec<_>>();
        let (left, right) = (fold(left, self.left), fold(right, self.right));
        let mut page = String::new();
        for at in 0..left.len().max(right.len()) {
            let (begin, end) = (left.get(at).map_or("", String::as_str), right.get(at).map_or("", String::as_str));
            let padding = " ".repeat(self.left.saturating_sub(begin.width()));
            page += format!("{}{padding}{BETWEEN}{end}", paint(begin)).trim_end();
            page.push('\n');
        }
        page
    }
}

/// A line in lines of so many columns; each but the first begins where its text does, and a little further.
pub(crate) fn folded(line: &str, width: usize) -> Vec<String> {
    let indent = line.chars().take_while(|character| *character == ' ').count();
    let indent = if indent + 2 > width / 2 { 0 } else { indent + 2 };
    let (mut lines, mut rest, mut margin) = (Vec::new(), line, 0);
    loop {
        let mut room = width - margin;
        let over = rest.char_indices().find_map(|(at, character)| {
            let wide = character.width().unwrap_or_default();
            let is_over = wide > room;
            room = room.saturating_sub(wide);
            is_over.then_some(at)
        });
        let Some(end) = over else {
            lines.push(format!("{}{rest}", " ".repeat(margin)));
            return lines;
        };
        let end = end.max(rest.chars().next().map_or(0, char::len_utf8));
        // at a blank, where one stands in the second half
        let blank = rest[..end].rfind(' ').filter(|blank| *blank > end / 2).map(|blank| blank + 1);
        let end = blank.unwrap_or(end);
        lines.push(format!("{}{}", " ".repeat(margin), rest[..end].trim_end()));
        rest = &rest[end..];
        margin = indent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_page_and_nothing_is_lost() {
        let long = format!("    \"name\": \"{}\"", "a word and 漢字 and 😀 ".repeat(9));
        for width in [40, 80, 81, 124, 200] {
            let columns = Columns::of(width);
            let page = columns.beside(&[long.clone(), "x".to_string()], &["y".repeat(300)], str::to_string);
            assert!(page.lines().all(|line| line.width() <= width), "{width}\n{page}");
            let letters = |text: &str| text.chars().filter(|letter| !" │\n".contains(*letter)).count();
            assert_eq!(letters(&page), letters(&long) + 1 + 300, "{page}");
        }
        assert_eq!(folded("  ab cd", 5), ["  ab", "cd"]);
        assert_eq!(folded("  abcdefghij", 10), ["  abcdefgh", "    ij"]);
        assert_eq!(folded("", 5), [""]);
    }
}
