//! `brink top`: a live screen of a running node.
//!
//! Asks the admin API once a period and draws what changed; the screen is never more than
//! a view of `/v1/stats`, `/v1/top` and `/v1/origins`, so `--json` prints just those.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use serde_json::{Value, json};

use super::admin_client::{self, Client, Problem, Target, bytes, number, percent, short, text};

const EXAMPLES: &str = "\
Keys: r b m M rank URLs by requests, bytes, misses, missed bytes; / filters them, Esc
clears; q quits.

Exit code: 0 left with q, 1 no node answered.";

/// Samples kept for the curves.
const KEPT: usize = 240;
/// URLs asked for.
const URLS: usize = 200;

/// A live screen: rates, hit ratio, tiers, origins, heaviest URLs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug)]
struct Screen {
    by: &'static str,
    filter: String,
    typing: bool,
    stats: Value,
    rates: Rates,
    requests: Vec<u64>,
    ratios: Vec<u64>,
    urls: Vec<Value>,
    origins: Vec<Value>,
    problem: Option<String>,
}

/// What happened per second between the last two looks.
#[derive(Debug, Default)]
struct Rates {
    requests: f64,
    bytes: f64,
    origin_bytes: f64,
    ratio: f64,
}

impl Top {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let every = Duration::from_secs(self.every);
        admin_client::run(&self.target, async |client| {
            let mut screen = Screen::new();
            screen.look(&client).await?;
            if self.target.json {
                let (urls, origins) = (&screen.urls, &screen.origins);
                let all = json!({"stats": screen.stats, "top": urls, "origins": origins});
                admin_client::print_json(&all);
                return Ok::<(), Problem>(());
            }
            let mut terminal = ratatui::init();
            let ended = screen.live(&client, &mut terminal, every).await;
            ratatui::restore();
            ended
        })
    }
}

impl Screen {
    fn new() -> Self {
        Screen {
            by: "requests",
            filter: String::new(),
            typing: false,
            stats: Value::Null,
            rates: Rates::default(),
            requests: Vec::new(),
            ratios: Vec::new(),
            urls: Vec::new(),
            origins: Vec::new(),
            problem: None,
        }
    }

    async fn live(
        &mut self,
        client: &Client,
        terminal: &mut ratatui::DefaultTerminal,
        every: Duration,
    ) -> Result<(), Problem> {
        let broke = |error: std::io::Error| Problem::Unreachable(format!("terminal: {error}"));
        let mut looked = crate::base::clock::instant();
        loop {
            terminal.draw(|frame| self.draw(frame)).map_err(broke)?;
            let left = every.saturating_sub(looked.elapsed());
            if event::poll(left.min(Duration::from_millis(250))).map_err(broke)? {
                let Event::Key(key) = event::read().map_err(broke)? else { continue };
                if key.kind == KeyEventKind::Press {
                    if !self.key(key.code) {
                        return Ok(());
                    }
                    looked -= every;
                }
            }
            if looked.elapsed() >= every {
                looked = crate::base::clock::instant();
                self.problem = self.look(client).await.err().map(|problem| problem.to_string());
            }
        }
    }

    /// Whether to go on.
    fn key(&mut self, code: KeyCode) -> bool {
        if self.typing {
            match code {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(c) => self.filter.push(c),
                _ => {}
            }
            return true;
        }
        match code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('r') => self.by = "requests",
            KeyCode::Char('b') => self.by = "bytes",
            KeyCode::Char('m') => self.by = "misses",
            KeyCode::Char('M') => self.by = "miss_bytes",
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            _ => {}
        }
        true
    }

    async fn look(&mut self, client: &Client) -> Result<(), Problem> {
        let stats = client.get("/v1/stats", &[]).await?;
        let limit = URLS.to_string();
        let urls = client.get("/v1/top", &[("by", self.by), ("limit", &limit)]).await?;
        let origins = client.get("/v1/origins", &[]).await?;
        let list = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        self.urls = list(&urls, "top");
        self.origins = list(&origins, "origins");
        let before = std::mem::replace(&mut self.stats, stats);
        let delta =
            |name: &str| number(&self.stats, name).saturating_sub(number(&before, name)) as f64;
        let seconds = delta("/now_ms") / 1000.0;
        if before.is_null() || seconds <= 0.0 {
            return Ok(());
        }
        let hits = delta("/hits") + delta("/stale");
        let asked = hits + delta("/misses") + delta("/passes") + delta("/revalidated");
        self.rates = Rates {
            requests: delta("/requests") / seconds,
            bytes: delta("/bytes") / seconds,
            origin_bytes: delta("/origin_bytes") / seconds,
            ratio: if asked > 0.0 { hits / asked } else { self.rates.ratio },
        };
        keep(&mut self.requests, self.rates.requests as u64);
        keep(&mut self.ratios, (self.rates.ratio * 1000.0) as u64);
        Ok(())
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, curves, middle, list, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(6),
            Constraint::Length(3 + self.servers().count().clamp(1, 6) as u16),
            Constraint::Min(4),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_head(frame, head);
        self.draw_curves(frame, curves);
        self.draw_middle(frame, middle);
        self.draw_urls(frame, list);
        let keys = "q quit   r b m M rank by requests bytes misses missed bytes   / filter";
        let foot_text = match &self.problem {
            Some(problem) => Line::from(problem.as_str()).fg(Color::Red),
            None => Line::from(keys).dim(),
        };
        frame.render_widget(foot_text, foot);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let rates = &self.rates;
        let saved = match rates.bytes {
            all if all > 0.0 => (1.0 - rates.origin_bytes / all).max(0.0) * 100.0,
            _ => 0.0,
        };
        let now = Line::from(format!(
            "{} requests/s   {}/s to clients   {}/s from origins   {:.1} % hit now   {saved:.1} % \
             saved now",
            short(rates.requests),
            bytes(rates.bytes as u64),
            bytes(rates.origin_bytes as u64),
            rates.ratio * 100.0,
        ));
        let total = Line::from(format!(
            "{} requests since start   {} of requests hit   {} of bytes hit   hits p99 {} us",
            short(number(&self.stats, "/requests") as f64),
            percent(&self.stats, "/request_hit_ratio"),
            percent(&self.stats, "/byte_hit_ratio"),
            number(&self.stats, "/latency/hit_p99_us"),
        ));
        frame.render_widget(Paragraph::new(vec![now.bold(), total]), area);
    }

    fn draw_curves(&self, frame: &mut Frame<'_>, area: Rect) {
        let [left, right] =
            Layout::horizontal([Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)]).areas(area);
        let tail = |values: &[u64], width: u16| {
            let room = usize::from(width.saturating_sub(2));
            values.iter().skip(values.len().saturating_sub(room)).copied().collect::<Vec<u64>>()
        };
        let requests = Sparkline::default()
            .block(Block::bordered().title("requests per second"))
            .style(Style::new().fg(Color::Cyan))
            .data(tail(&self.requests, left.width));
        let ratio = Sparkline::default()
            .block(Block::bordered().title("hit ratio, full height is 100 %"))
            .style(Style::new().fg(Color::Green))
            .max(1000)
            .data(tail(&self.ratios, right.width));
        frame.render_widget(requests, left);
        frame.render_widget(ratio, right);
    }

    fn servers(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.origins.iter().flat_map(|origin| {
            let servers = origin.get("servers").and_then(Value::as_array);
            servers.into_iter().flatten().map(move |server| (origin, server))
        })
    }

    fn draw_middle(&self, frame: &mut Frame<'_>, area: Rect) {
        let [left, right] =
            Layout::horizontal([Constraint::Length(44), Constraint::Min(20)]).areas(area);
        let tiers = self.stats.get("tiers").and_then(Value::as_object);
        let tiers = tiers.into_iter().flatten().map(|(tier, fill)| {
            let max = number(fill, "/bytes_max");
            let of = if max == 0 { String::new() } else { format!(" of {}", bytes(max)) };
            let used = bytes(number(fill, "/bytes"));
            Row::new([
                tier.clone(),
                format!("{} objects", short(number(fill, "/objects") as f64)),
                format!("{used}{of}"),
            ])
        });
        let widths = [Constraint::Length(7), Constraint::Length(15), Constraint::Min(10)];
        frame
            .render_widget(Table::new(tiers, widths).block(Block::bordered().title("tiers")), left);
        let servers = self.servers().map(|(origin, server)| {
            let state = text(server, "/state");
            let colour = if state == "up" { Color::Green } else { Color::Yellow };
            Row::new([
                format!("{} {}", text(origin, "/name"), text(server, "/name")),
                state.to_owned(),
                format!("{} in flight", number(server, "/in_flight")),
                format!("{} failed", number(server, "/failures")),
            ])
            .style(Style::new().fg(colour))
        });
        let widths = [
            Constraint::Min(24),
            Constraint::Length(10),
            Constraint::Length(14),
            Constraint::Length(12),
        ];
        frame.render_widget(
            Table::new(servers, widths).block(Block::bordered().title("origins")),
            right,
        );
    }

    fn draw_urls(&self, frame: &mut Frame<'_>, area: Rect) {
        let of_bytes = self.by.ends_with("bytes");
        let chosen = self.urls.iter().filter(|hitter| text(hitter, "/url").contains(&self.filter));
        let rows = chosen.map(|hitter| {
            let count = number(hitter, "/count");
            let shown = if of_bytes { bytes(count) } else { short(count as f64) };
            Row::new([shown, text(hitter, "/url").to_owned()])
        });
        let cursor = if self.typing { "_" } else { "" };
        let filter = match (self.typing, self.filter.as_str()) {
            (false, "") => String::new(),
            (_, filter) => format!(" with \"{filter}{cursor}\""),
        };
        let title = format!("heaviest by {}{filter}, last minutes", self.by.replace('_', " "));
        let table = Table::new(rows, [Constraint::Length(12), Constraint::Min(20)])
            .block(Block::bordered().title(title));
        frame.render_widget(table, area);
    }
}

fn keep(values: &mut Vec<u64>, value: u64) {
    if values.len() >= KEPT {
        values.remove(0);
    }
    values.push(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn the_screen_shows_rates_tiers_origins_and_urls_at_any_size() {
        let mut screen = Screen::new();
        screen.stats = json!({"requests": 12_345, "request_hit_ratio": 0.5,
            "tiers": {"memory": {"objects": 3, "bytes": 2048, "bytes_max": 4096}}});
        screen.urls = vec![json!({"url": "h/a", "count": 7}), json!({"url": "h/b", "count": 5})];
        screen.origins = vec![json!({"name": "app", "servers": [{"name": "s1", "state": "up"}]})];
        screen.key(KeyCode::Char('/'));
        screen.key(KeyCode::Char('a'));
        for (width, height) in [(100, 30), (20, 5), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| screen.draw(frame)).unwrap();
            if width == 100 {
                let text = format!("{:?}", terminal.backend().buffer());
                for shown in ["12.3 k requests since start", "2KiB of 4KiB", "app s1", "h/a"] {
                    assert!(text.contains(shown), "{shown}: {text}");
                }
                assert!(!text.contains("h/b"), "filtered out");
            }
        }
        screen.key(KeyCode::Esc);
        assert!(!screen.key(KeyCode::Char('q')));
    }
}
