//! A chart as SVG: accuracy upwards, ReLUs to the right on a logarithmic scale, none at all apart on the
//! left.

use std::fmt::Write;

use super::{Chart, Point, Series};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 520.0;
/// The plane of the points: left, top, right, bottom.
const PLANE: [f64; 4] = [70.0, 50.0, 600.0, 460.0];
/// Where networks without any ReLU stand.
const NONE_AT: f64 = 95.0;
/// Where the scale begins.
const SCALE_FROM: f64 = 135.0;
/// Okabe and Ito's colours, which the colour-blind tell apart.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

struct Scale {
    /// Powers of ten.
    relus: [f64; 2],
    /// Percent.
    accuracy: [f64; 2],
}

impl Scale {
    fn of(chart: &Chart) -> Self {
        let points = || chart.series.iter().flat_map(|s| &s.points);
        let some = || points().filter(|p| p.relus > 0).map(|p| (p.relus as f64).log10());
        let (low, high) = (some().fold(f64::INFINITY, f64::min), some().fold(f64::NEG_INFINITY, f64::max));
        let relus =
            if low.is_finite() { [low.floor(), high.ceil().max(low.floor() + 1.0)] } else { [0.0, 1.0] };
        let accuracies = || points().map(|p| p.accuracy);
        let (low, high) = (accuracies().fold(100.0, f64::min), accuracies().fold(0.0, f64::max));
        Self { relus, accuracy: [(low - 1.0).floor().max(0.0), (high + 1.0).ceil().min(100.0)] }
    }

    fn x(&self, relus: usize) -> f64 {
        if relus == 0 {
            return NONE_AT;
        }
        let part = ((relus as f64).log10() - self.relus[0]) / (self.relus[1] - self.relus[0]);
        SCALE_FROM + part * (PLANE[2] - 10.0 - SCALE_FROM)
    }

    fn y(&self, accuracy: f64) -> f64 {
        let part = (accuracy - self.accuracy[0]) / (self.accuracy[1] - self.accuracy[0]);
        PLANE[3] - part * (PLANE[3] - PLANE[1])
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(out: &mut String, [x, y]: [f64; 2], anchor: &str, content: &str) {
    let _ =
        writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(content));
}

fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], style: &str) {
    let _ = writeln!(out, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#);
}

/// Draws a chart. Points of papers are hollow and their lines dashed.
#[must_use]
pub fn draw(chart: &Chart) -> String {
    let scale = Scale::of(chart);
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">"#
    );
    let _ = writeln!(out, r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##);
    let [left, top, right, bottom] = PLANE;
    let title = format!("{} on {}: test accuracy against ReLUs", chart.model, chart.data_set);
    text(&mut out, [(left + right) / 2.0, 28.0], "middle", &title);
    axes(&mut out, &scale, chart);
    let _ = writeln!(
        out,
        r##"<rect x="{left}" y="{top}" width="{}" height="{}" fill="none" stroke="#444444"/>"##,
        right - left,
        bottom - top
    );
    for (index, series) in chart.series.iter().enumerate() {
        let place = [right + 25.0, top + 12.0 + 24.0 * index as f64];
        points(&mut out, &scale, series, COLOURS[index % COLOURS.len()], place);
    }
    let note = "hollow: as published, not measured here";
    if chart.series.iter().any(|s| s.is_published) {
        text(&mut out, [right + 20.0, top + 20.0 + 24.0 * chart.series.len() as f64], "start", note);
    }
    out.push_str("</svg>\n");
    out
}

fn axes(out: &mut String, scale: &Scale, chart: &Chart) {
    let [left, top, right, bottom] = PLANE;
    let grid = r##"stroke="#dddddd""##;
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let range = scale.accuracy[1] - scale.accuracy[0];
    let step = steps.into_iter().find(|step| range / step <= 10.0).unwrap_or(20.0);
    let mut accuracy = (scale.accuracy[0] / step).ceil() * step;
    while accuracy <= scale.accuracy[1] + 1e-9 {
        let y = scale.y(accuracy);
        line(out, [left, y, right, y], grid);
        text(out, [left - 8.0, y + 4.0], "end", &format!("{accuracy} %"));
        accuracy += step;
    }
    for power in scale.relus[0] as i32..=scale.relus[1] as i32 {
        let relus = 10_usize.pow(power.max(0) as u32);
        let x = scale.x(relus);
        line(out, [x, top, x, bottom], grid);
        let label = match relus {
            1_000_000.. => format!("{} M", relus / 1_000_000),
            1000.. => format!("{} k", relus / 1000),
            _ => relus.to_string(),
        };
        text(out, [x, bottom + 18.0], "middle", &label);
    }
    if chart.series.iter().flat_map(|s| &s.points).any(|p| p.relus == 0) {
        text(out, [NONE_AT, bottom + 18.0], "middle", "0");
        let between = (NONE_AT + SCALE_FROM) / 2.0;
        line(out, [between, top, between, bottom], r##"stroke="#444444" stroke-dasharray="2 4""##);
    }
    text(out, [(left + right) / 2.0, bottom + 42.0], "middle", "ReLUs");
}

/// A series, and its entry in the legend at `place`.
fn points(out: &mut String, scale: &Scale, series: &Series, colour: &str, place: [f64; 2]) {
    let at = |p: &Point| [scale.x(p.relus), scale.y(p.accuracy)];
    let (fill, dash) =
        if series.is_published { ("#ffffff", r#" stroke-dasharray="6 4""#) } else { (colour, "") };
    // From no ReLU at all to some there is no way on a logarithmic scale.
    let way: Vec<String> = series
        .points
        .iter()
        .filter(|p| p.relus > 0)
        .map(|p| format!("{:.1},{:.1}", at(p)[0], at(p)[1]))
        .collect();
    let _ = writeln!(out, r#"<polyline points="{}" fill="none" stroke="{colour}"{dash}/>"#, way.join(" "));
    let mark = |out: &mut String, [x, y]: [f64; 2], label: &str| {
        let circle = format!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.5">"#
        );
        let _ = writeln!(out, "{circle}<title>{}</title></circle>", escaped(label));
    };
    for point in &series.points {
        mark(out, at(point), &format!("{}: {} ReLUs, {:.2} %", series.name, point.relus, point.accuracy));
    }
    mark(out, place, &series.name);
    text(out, [place[0] + 12.0, place[1] + 4.0], "start", &series.name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_where_their_figures_say() {
        let series = |name: &str, is_published, points: &[(usize, f64)]| {
            let points = points.iter().map(|&(relus, accuracy)| Point { relus, accuracy }).collect();
            Series { name: name.to_owned(), is_published, points }
        };
        let all = vec![
            series("a<b", false, &[(0, 50.0), (1000, 70.0), (100_000, 80.0)]),
            series("paper", true, &[(10_000, 75.0)]),
        ];
        let chart = Chart { model: "m".to_owned(), data_set: "d".to_owned(), series: all };
        let scale = Scale::of(&chart);
        assert_eq!(scale.relus, [3.0, 5.0]);
        assert_eq!((scale.x(0), scale.x(1000)), (NONE_AT, SCALE_FROM));
        assert!((scale.x(10_000) - (scale.x(1000) + scale.x(100_000)) / 2.0).abs() < 1e-9);
        assert!(scale.y(80.0) < scale.y(70.0) && scale.y(49.0) == PLANE[3] && scale.y(81.0) == PLANE[1]);
        let text = draw(&chart);
        // Four points and two entries of the legend; what was published is hollow.
        assert_eq!(text.matches("<circle").count(), 6);
        assert_eq!(text.matches("fill=\"#ffffff\" stroke=").count(), 2);
        assert!(
            text.contains("a&lt;b: 1000 ReLUs, 70.00 %")
                && text.contains("as published")
                && text.contains("stroke-dasharray=\"6 4\"")
        );
        let alone = Chart { series: vec![series("none", false, &[(0, 50.0)])], ..chart };
        assert!(draw(&alone).contains("none: 0 ReLUs") && !draw(&alone).contains("NaN"));
    }
}
