//! Tables for people: columns as wide as their content, numbers flush right.

/// Rows of text under a heading.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![heading.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as text, each row a line. Columns whose cells are all numbers (or empty) below the heading
    /// are flush right.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: usize, column: usize| self.rows[row].get(column).map_or("", String::as_str);
        let length = |text: &str| text.chars().count();
        let width = |column| (0..self.rows.len()).map(|row| length(cell(row, column))).max().unwrap_or(0);
        let numeric = |column| (1..self.rows.len()).all(|row| is_number(cell(row, column)));
        let layout: Vec<(usize, bool)> = (0..columns).map(|c| (width(c), numeric(c))).collect();
        let mut text = String::new();
        for row in 0..self.rows.len() {
            let mut line = String::new();
            for (column, (width, numeric)) in layout.iter().enumerate() {
                let cell = cell(row, column);
                let space = " ".repeat(width - length(cell));
                let gap = if column > 0 { "  " } else { "" };
                line += &if *numeric { format!("{gap}{space}{cell}") } else { format!("{gap}{cell}{space}") };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

fn is_number(cell: &str) -> bool {
    cell.chars().next().is_none_or(|first| first.is_ascii_digit() || "-–−+≤≥".contains(first))
}

/// A number with its thousands set apart, as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in the unit that suits it.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["layer", "bytes"]);
        table.row(["conv 3×3", "12"]);
        table.row(["fc", "1,234"]);
        assert_eq!(table.render(), "layer     bytes\nconv 3×3     12\nfc        1,234\n");
    }

    #[test]
    fn thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn durations() {
        assert_eq!([2e-6, 0.0123, 3.0].map(seconds), ["2 µs", "12.3 ms", "3.00 s"]);
    }
}
