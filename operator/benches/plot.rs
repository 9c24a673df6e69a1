//! A day, or more of them, as a picture: two curves, readable on light and on dark pages.

use crate::day::{Day, Sample};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 15.0;
const PANEL: f64 = 140.0;
const TOP: f64 = 30.0;
const BETWEEN: f64 = 50.0;

/// There are more samples than a screen has room for.
const POINTS: f64 = 336.0;

/// The whole file.
pub(crate) fn svg(day: &Day) -> String {
    let memory = buckets(day, day.samples.iter().map(|Sample { hour, vitals }| (*hour, vitals.resident_mb)));
    let ages = buckets(day, ages(day));
    let second = TOP + PANEL + BETWEEN;
    let height = second + PANEL + 35.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n{STYLE}\n"
    );
    text.push_str(&panel(day, TOP, "resident memory, MB", &memory));
    text.push_str(&panel(day, second, "age of the status when it was renewed, minutes", &ages));
    for days in 0..=(day.hours / 24.0) as u32 {
        let (x, y) = (x(day, f64::from(days * 24)), second + PANEL + 16.0);
        text.push_str(&format!("<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">{days} d</text>\n"));
    }
    text.push_str("</svg>\n");
    text
}

/// Colours that stand out from white and from black.
const STYLE: &str = "<style>\n\
    text { fill: #57606a } .line { fill: none; stroke: #0969da; stroke-width: 1.5 }\n\
    .grid { stroke: #8c959f; stroke-width: 0.5 } .away { fill: #8c959f; opacity: 0.35 }\n\
    @media (prefers-color-scheme: dark) { text { fill: #b1bac4 } .line { stroke: #58a6ff } }\n\
    </style>";

/// How old the status was when it was written anew, in minutes.
fn ages(day: &Day) -> impl Iterator<Item = (f64, f64)> {
    day.writes.windows(2).map(|pair| (pair[1].came, (pair[1].came - pair[0].came) * 60.0))
}

/// The largest of each stretch of the day, where there is any.
fn buckets(day: &Day, points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let points_an_hour = POINTS / day.hours;
    let mut largest = vec![None; POINTS as usize + 1];
    for (hour, value) in points {
        let bucket: &mut Option<f64> = &mut largest[(hour * points_an_hour) as usize];
        *bucket = Some(bucket.map_or(value, |other| other.max(value)));
    }
    let hour = |index: usize| (index as f64 + 0.5) / points_an_hour;
    largest.iter().enumerate().filter_map(|(index, value)| Some((hour(index), (*value)?))).collect()
}

fn x(day: &Day, hour: f64) -> f64 {
    LEFT + hour / day.hours * (WIDTH - LEFT - RIGHT)
}

fn panel(day: &Day, top: f64, title: &str, points: &[(f64, f64)]) -> String {
    let highest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let step = step(highest);
    let end = (highest / step).ceil() * step;
    let y = |value: f64| top + PANEL * (1.0 - value / end);
    let mut text = format!("<text x=\"{LEFT}\" y=\"{:.0}\">{title}</text>\n", top - 10.0);
    for outage in &day.outages {
        let (from, to) = (x(day, outage.from), x(day, outage.to));
        let width = to - from;
        text.push_str(&format!(
            "<rect class=\"away\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{PANEL}\">\
             <title>the API server was away</title></rect>\n"
        ));
    }
    for line in 0..=(end / step).round() as u32 {
        let value = f64::from(line) * step;
        let (y, right, beside) = (y(value), WIDTH - RIGHT, LEFT - 6.0);
        text.push_str(&format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
        text.push_str(&format!("<text x=\"{beside}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n", y + 4.0));
    }
    let points: Vec<String> =
        points.iter().map(|(hour, value)| format!("{:.1},{:.1}", x(day, *hour), y(*value))).collect();
    text.push_str(&format!("<polyline class=\"line\" points=\"{}\"/>\n", points.join(" ")));
    text
}

/// A round distance that makes a handful of lines.
fn step(highest: f64) -> f64 {
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|step| highest / step <= 5.0).unwrap_or(100.0)
}
