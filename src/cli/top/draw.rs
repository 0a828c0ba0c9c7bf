//! The screen of `brink top`, drawn from what was last heard.
//!
//! ```text
//! figures of now and since start
//! | requests a second | hit ratio | origin savings |   curves
//! | tiers with bars   | origins with their health  |
//! | heaviest URLs     | most missed URLs           |   one of them if there is no room
//! keys, or the problem
//! ```

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};
use serde_json::Value;

use super::{List, Screen};
use crate::cli::admin_client::{bytes, number, percent, short, text};

/// Narrower screens show one list of URLs.
const WIDE: u16 = 100;
/// Cells of a bar.
const BAR: usize = 16;

impl Screen {
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let servers = self.servers().count().clamp(2, 6) as u16;
        let [head, curves, middle, lists, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(6),
            Constraint::Length(2 + servers),
            Constraint::Min(4),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_head(frame, head);
        self.draw_curves(frame, curves);
        self.draw_middle(frame, middle);
        if lists.width >= WIDE {
            let [left, right] = halves(lists);
            self.draw_urls(frame, left, &self.heaviest);
            self.draw_urls(frame, right, &self.missed);
        } else {
            let one = if self.on_missed { &self.missed } else { &self.heaviest };
            self.draw_urls(frame, lists, one);
        }
        frame.render_widget(self.foot(), foot);
    }

    fn foot(&self) -> Line<'_> {
        if let Some(problem) = &self.problem {
            return Line::from(problem.as_str()).fg(Color::Red);
        }
        let key = |key: &'static str, what: &'static str| {
            [Span::from(key).bold(), Span::from(what).fg(Color::DarkGray)]
        };
        let keys = [
            key("q", " quit  "),
            key("r b", " rank by requests, bytes  "),
            key("m M", " by misses, missed bytes  "),
            key("/", " filter  "),
            key("p", if self.paused { " go on  " } else { " pause  " }),
            key("up down", " scroll"),
        ];
        Line::from(keys.into_iter().flatten().collect::<Vec<_>>())
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let rates = &self.rates;
        let stats = &self.stats;
        let saved = 1.0 - share(number(stats, "/origin_bytes"), number(stats, "/bytes"));
        let title = |text: &'static str| Span::from(text).fg(Color::DarkGray);
        let now = Line::from(vec![
            title("now    "),
            Span::from(format!("{} requests/s", short(rates.requests))).bold(),
            Span::from(format!(
                "   {}/s to clients   {}/s from origins   ",
                bytes(rates.bytes as u64),
                bytes(rates.origin_bytes as u64)
            )),
            Span::from(format!("{:.1} % hit", rates.ratio * 100.0)).fg(graded(rates.ratio)).bold(),
            Span::from(format!("   {:.1} % saved at origins", rates.saved * 100.0)),
        ]);
        let total = Line::from(vec![
            title("start  "),
            Span::from(format!(
                "{} requests   {} of requests hit   {} of bytes hit   {:.1} % saved at origins",
                short(number(stats, "/requests") as f64),
                percent(stats, "/request_hit_ratio"),
                percent(stats, "/byte_hit_ratio"),
                saved.max(0.0) * 100.0,
            )),
        ]);
        let times = Line::from(vec![
            title("time   "),
            Span::from(format!(
                "hits {} us median, {} us p99   others {} us median, {} us p99   {} failed",
                number(stats, "/latency/hit_p50_us"),
                number(stats, "/latency/hit_p99_us"),
                number(stats, "/latency/miss_p50_us"),
                number(stats, "/latency/miss_p99_us"),
                number(stats, "/failed"),
            )),
        ]);
        frame.render_widget(Paragraph::new(vec![now, total, times]), area);
    }

    fn draw_curves(&self, frame: &mut Frame<'_>, area: Rect) {
        let third = Constraint::Ratio(1, 3);
        let [left, middle, right] = Layout::horizontal([third, third, third]).areas(area);
        let peak = self.requests.iter().max().copied().unwrap_or(0);
        let rows = [
            (left, format!("requests/s, peak {}", short(peak as f64)), &self.requests, None),
            (middle, "hit ratio, of 100 %".to_owned(), &self.ratios, Some(1000)),
            (right, "saved at origins, of 100 %".to_owned(), &self.savings, Some(1000)),
        ];
        let colours = [Color::Cyan, Color::Green, Color::Magenta];
        for ((area, title, values, max), colour) in rows.into_iter().zip(colours) {
            let room = usize::from(area.width.saturating_sub(2));
            let from = values.len().saturating_sub(room);
            let data: Vec<u64> = values.iter().skip(from).copied().collect();
            let mut curve =
                Sparkline::default().block(block(title)).style(Style::new().fg(colour)).data(data);
            if let Some(max) = max {
                curve = curve.max(max);
            }
            frame.render_widget(curve, area);
        }
    }

    fn draw_middle(&self, frame: &mut Frame<'_>, area: Rect) {
        let [left, right] =
            Layout::horizontal([Constraint::Max(56), Constraint::Min(area.width / 2)]).areas(area);
        let tiers = self.stats.get("tiers").and_then(Value::as_object);
        let tiers = tiers.into_iter().flatten().map(|(tier, fill)| {
            let (used, max) = (number(fill, "/bytes"), number(fill, "/bytes_max"));
            let full = share(used, max).min(1.0);
            Row::new([
                Cell::from(tier.clone()),
                Cell::from(bar(full)).fg(if full > 0.95 { Color::Yellow } else { Color::Cyan }),
                Cell::from(format!("{} of {}", bytes(used), bytes(max))),
                Cell::from(short(number(fill, "/objects") as f64)),
            ])
        });
        let widths = [
            Constraint::Length(6),
            Constraint::Length(BAR as u16),
            Constraint::Min(18),
            Constraint::Length(8),
        ];
        frame.render_widget(Table::new(tiers, widths).block(block("tiers".to_owned())), left);
        let servers = self.servers().map(|(origin, server)| {
            let state = text(server, "/state");
            let colour = match state {
                "up" => Color::Green,
                "down" | "ejected" => Color::Red,
                _ => Color::Yellow,
            };
            let latency = server.get("latency_ms").and_then(Value::as_f64).unwrap_or(0.0);
            Row::new([
                Cell::from(format!("{} {}", text(origin, "/name"), text(server, "/name"))),
                Cell::from(format!("● {state}")).fg(colour),
                Cell::from(format!("{} in flight", number(server, "/in_flight"))),
                Cell::from(format!("{latency:.1} ms")),
                Cell::from(format!("{} failed", short(number(server, "/failures") as f64))),
            ])
        });
        let widths = [
            Constraint::Min(20),
            Constraint::Length(12),
            Constraint::Length(13),
            Constraint::Length(9),
            Constraint::Length(14),
        ];
        frame.render_widget(Table::new(servers, widths).block(block("origins".to_owned())), right);
    }

    fn draw_urls(&self, frame: &mut Frame<'_>, area: Rect, list: &List) {
        let of_bytes = list.by.ends_with("bytes");
        let chosen = list.urls.iter().filter(|one| text(one, "/url").contains(&self.filter));
        let most = chosen.clone().map(|one| number(one, "/count")).max().unwrap_or(0);
        let rows = chosen.skip(self.scroll).map(|one| {
            let count = number(one, "/count");
            let shown = if of_bytes { bytes(count) } else { short(count as f64) };
            let cells = (share(count, most) * 8.0).ceil() as usize;
            Row::new([
                Cell::from(Line::from(shown).right_aligned()),
                Cell::from("▄".repeat(cells.min(8))).fg(Color::Cyan),
                Cell::from(text(one, "/url").to_owned()),
            ])
        });
        let cursor = if self.typing { "_" } else { "" };
        let filter = match (self.typing, self.filter.as_str()) {
            (false, "") => String::new(),
            (_, filter) => format!(", with \"{filter}{cursor}\""),
        };
        let title = format!("URLs by {}{filter}, last minutes", list.by.replace('_', " "));
        let widths = [Constraint::Length(10), Constraint::Length(8), Constraint::Min(20)];
        let table = Table::new(rows, widths).block(block(title));
        frame.render_widget(table, area);
    }
}

fn block(title: String) -> Block<'static> {
    let border = Style::new().fg(Color::DarkGray);
    Block::bordered().border_style(border).title(Span::from(title).fg(Color::Reset).bold())
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)]).areas(area)
}

fn bar(share: f64) -> String {
    let full = ((share * BAR as f64).round() as usize).min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn graded(ratio: f64) -> Color {
    match ratio {
        ratio if ratio >= 0.8 => Color::Green,
        ratio if ratio >= 0.5 => Color::Yellow,
        _ => Color::Red,
    }
}

/// `part / whole`; nothing of nothing is nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
