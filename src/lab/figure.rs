//! The miss-ratio curve as one self-contained page: an SVG, no script from elsewhere.
//!
//! Cache size on a logarithmic axis, share missed on a linear one, one line a policy,
//! solid by request and dashed by byte, the interval of a sampled curve as a band. Colours
//! follow the reader's light or dark setting. A pointer over the plot reads all lines off
//! at that size; each point carries its figures as a title too, for those without script.

use std::fmt::Write;

use super::curve::Point;
use super::report::human;

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 52.0;
/// Readable on white and on near-black; told apart with the common colour deficiencies.
const COLOURS: [&str; 6] = ["#2a78d6", "#d1691e", "#1f9a78", "#b5489c", "#8f8412", "#7a6bd8"];

/// The page. `now` marks the present size of the cache.
pub fn page(
    title: &str,
    advice: &str,
    curves: &[(String, Vec<Point>)],
    now: Option<u64>,
) -> String {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let least = points().map(|point| point.size).min().unwrap_or(1).max(1) as f64;
    let most = points().map(|point| point.size).max().unwrap_or(10) as f64;
    let axes = Axes { least: least.log10(), most: most.max(least * 1.01).log10() };
    let mut svg = String::new();
    grid(&mut svg, &axes);
    for (index, (name, points)) in curves.iter().enumerate() {
        line(&mut svg, &axes, name, points, COLOURS[index % COLOURS.len()]);
    }
    if let Some(now) = now.filter(|now| (least..=most).contains(&(*now as f64))) {
        let x = axes.x(now as f64);
        let _ = write!(
            svg,
            "<line class=now x1={x:.1} x2={x:.1} y1={TOP} y2={:.1} /><text class=label x={:.1} \
             y={:.1}>now {}</text>",
            HEIGHT - BOTTOM,
            x + 5.0,
            TOP + 12.0,
            human(now)
        );
    }
    let data = serde_json::to_string(curves).unwrap_or_default().replace('<', "\\u003c");
    let mut legend = String::new();
    for (index, (name, _)) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let name = escape(name);
        let _ = write!(legend, "<span><i style=\"background:{colour}\"></i>{name}</span>");
    }
    legend += "<span><b></b>by request</span><span><b class=dash></b>by byte</span>";
    PAGE.replace("@title@", &escape(title))
        .replace("@advice@", &escape(advice))
        .replace("@legend@", &legend)
        .replace("@table@", &rows(curves))
        .replace("@least@", &axes.least.to_string())
        .replace("@most@", &axes.most.to_string())
        .replace("@svg@", &svg)
        .replace("@data@", &data)
}

struct Axes {
    least: f64,
    most: f64,
}

impl Axes {
    fn x(&self, size: f64) -> f64 {
        LEFT + (size.log10() - self.least) / (self.most - self.least) * (WIDTH - LEFT - RIGHT)
    }

    fn y(ratio: f64) -> f64 {
        TOP + (1.0 - ratio) * (HEIGHT - TOP - BOTTOM)
    }
}

fn grid(svg: &mut String, axes: &Axes) {
    let right = WIDTH - RIGHT;
    for tenth in 0..=5 {
        let (ratio, y) = (f64::from(tenth) / 5.0, Axes::y(f64::from(tenth) / 5.0));
        let _ = write!(
            svg,
            "<line class=grid x1={LEFT} x2={right} y1={y:.1} y2={y:.1} /><text class=tick x={:.1} \
             y={:.1} text-anchor=end>{:.0} %</text>",
            LEFT - 8.0,
            y + 4.0,
            ratio * 100.0
        );
    }
    // Powers of two, every second or fourth if they would crowd.
    let (low, high) = (axes.least / 2f64.log10(), axes.most / 2f64.log10());
    let step = ((high - low) / 9.0).ceil().max(1.0) as i32;
    let mut power = low.ceil() as i32;
    while f64::from(power) <= high {
        let size = 2f64.powi(power);
        let x = axes.x(size);
        let (bottom, below) = (HEIGHT - BOTTOM, HEIGHT - BOTTOM + 18.0);
        let _ = write!(
            svg,
            "<line class=grid x1={x:.1} x2={x:.1} y1={TOP} y2={bottom} /><text class=tick x={x:.1} \
             y={below} text-anchor=middle>{}</text>",
            human(size as u64)
        );
        power += step;
    }
    let middle = (LEFT + right) / 2.0;
    let _ = write!(
        svg,
        "<text class=axis x={middle} y={} text-anchor=middle>cache size (log scale)</text><text \
         class=axis transform=\"translate(14 {}) rotate(-90)\" text-anchor=middle>missed</text>",
        HEIGHT - 8.0,
        (TOP + HEIGHT - BOTTOM) / 2.0
    );
}

fn line(svg: &mut String, axes: &Axes, name: &str, points: &[Point], colour: &str) {
    let name = escape(name);
    for (class, pick, half) in [
        ("", (|p| p.objects) as fn(&Point) -> f64, (|p| p.objects_error) as fn(&Point) -> f64),
        (" dash", |p| p.bytes, |p| p.bytes_error),
    ] {
        let at = |point: &Point, by: f64| {
            let ratio = (pick(point) + by * half(point)).clamp(0.0, 1.0);
            format!("{:.1},{:.1}", axes.x(point.size as f64), Axes::y(ratio))
        };
        if points.iter().any(|point| half(point) > 0.0) {
            let upper = points.iter().map(|point| at(point, 1.0));
            let lower = points.iter().rev().map(|point| at(point, -1.0));
            let band: Vec<String> = upper.chain(lower).collect();
            let _ = write!(
                svg,
                "<polygon fill=\"{colour}\" opacity=.14 points=\"{}\" />",
                band.join(" ")
            );
        }
        let path: Vec<String> = points.iter().map(|point| at(point, 0.0)).collect();
        let _ = write!(
            svg,
            "<polyline class=\"curve{class}\" stroke=\"{colour}\" points=\"{}\"><title>{name}</title>\
             </polyline>",
            path.join(" ")
        );
    }
}

fn rows(curves: &[(String, Vec<Point>)]) -> String {
    let mut out = String::new();
    for (name, points) in curves {
        for point in points {
            let _ = write!(
                out,
                "<tr><td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.2}",
                escape(name),
                human(point.size),
                point.objects * 100.0,
                point.bytes * 100.0,
                point.objects_error * 100.0
            );
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const PAGE: &str = include_str!("figure.html");
