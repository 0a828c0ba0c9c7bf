//! `brink top`: a live screen of a running node.
//!
//! Asks the admin API once a period and draws what changed; the screen is never more than
//! a view of `/v1/stats`, `/v1/top` and `/v1/origins`, so `--json` prints just those.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::{Value, json};

use super::admin_client::{self, Client, Problem, Target, number};

mod draw;

const EXAMPLES: &str = "\
Keys: r b rank URLs by requests or bytes, m M the missed ones by misses or missed bytes; / filters
both, Esc clears; up, down scroll; p pauses; q quits. --json prints one look and ends.

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
    heaviest: List,
    missed: List,
    /// Which list was asked for last; the only one where there is no room for both.
    on_missed: bool,
    scroll: usize,
    filter: String,
    typing: bool,
    paused: bool,
    stats: Value,
    rates: Rates,
    requests: Vec<u64>,
    ratios: Vec<u64>,
    savings: Vec<u64>,
    origins: Vec<Value>,
    problem: Option<String>,
}

/// URLs, and what they are ranked by.
#[derive(Debug)]
struct List {
    by: &'static str,
    urls: Vec<Value>,
}

/// What happened per second between the last two looks.
#[derive(Debug, Default)]
struct Rates {
    requests: f64,
    bytes: f64,
    origin_bytes: f64,
    ratio: f64,
    /// Share of the clients' bytes that no origin had to send.
    saved: f64,
}

impl Top {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let every = Duration::from_secs(self.every);
        admin_client::run(&self.target, async |client| {
            let mut screen = Screen::new();
            screen.remember(&client).await?;
            screen.look(&client).await?;
            if self.target.json {
                let all = json!({"stats": screen.stats, "top": screen.heaviest.urls,
                    "missed": screen.missed.urls, "origins": screen.origins});
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
            heaviest: List { by: "requests", urls: Vec::new() },
            missed: List { by: "misses", urls: Vec::new() },
            on_missed: false,
            scroll: 0,
            filter: String::new(),
            typing: false,
            paused: false,
            stats: Value::Null,
            rates: Rates::default(),
            requests: Vec::new(),
            ratios: Vec::new(),
            savings: Vec::new(),
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
                    let before = (self.heaviest.by, self.missed.by);
                    if !self.key(key) {
                        return Ok(());
                    }
                    // Another ranking is asked for at once; another filter needs no asking.
                    if before != (self.heaviest.by, self.missed.by) {
                        self.rank(client).await.unwrap_or_else(|error| {
                            self.problem = Some(error.to_string());
                        });
                    }
                }
            }
            if looked.elapsed() >= every && !self.paused {
                looked = crate::base::clock::instant();
                self.problem = self.look(client).await.err().map(|problem| problem.to_string());
            }
        }
    }

    /// Whether to go on.
    fn key(&mut self, key: KeyEvent) -> bool {
        let code = key.code;
        if key.modifiers.contains(KeyModifiers::CONTROL) && code == KeyCode::Char('c') {
            return false;
        }
        if self.typing {
            match code {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(c) => self.filter.push(c),
                _ => {}
            }
            self.scroll = 0;
            return true;
        }
        match code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('r') => (self.heaviest.by, self.on_missed) = ("requests", false),
            KeyCode::Char('b') => (self.heaviest.by, self.on_missed) = ("bytes", false),
            KeyCode::Char('m') => (self.missed.by, self.on_missed) = ("misses", true),
            KeyCode::Char('M') => (self.missed.by, self.on_missed) = ("miss_bytes", true),
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Down => self.scroll = (self.scroll + 1).min(URLS),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Home => self.scroll = 0,
            KeyCode::Esc => self.filter.clear(),
            _ => {}
        }
        true
    }

    /// Takes over what the node has seen in the last minutes.
    async fn remember(&mut self, client: &Client) -> Result<(), Problem> {
        let history = client.get("/v1/history", &[]).await?;
        let samples = history.get("samples").and_then(Value::as_array);
        let samples = samples.map_or(&[][..], |samples| samples);
        for (before, now) in samples.iter().zip(samples.iter().skip(1)) {
            let delta = |name: &str| number(now, name).saturating_sub(number(before, name));
            let ms = delta("/at_ms").max(1);
            let (bytes, origin_bytes) = (delta("/bytes"), delta("/origin_bytes"));
            let ratio = draw::share(delta("/hits"), delta("/asked"));
            let saved = 1.0 - draw::share(origin_bytes, bytes).min(1.0);
            keep(&mut self.requests, delta("/requests") * 1000 / ms);
            keep(&mut self.ratios, (ratio * 1000.0) as u64);
            keep(&mut self.savings, if bytes == 0 { 0 } else { (saved * 1000.0) as u64 });
        }
        Ok(())
    }

    async fn rank(&mut self, client: &Client) -> Result<(), Problem> {
        let limit = URLS.to_string();
        for list in [&mut self.heaviest, &mut self.missed] {
            let top = client.get("/v1/top", &[("by", list.by), ("limit", &limit)]).await?;
            list.urls = top.get("top").and_then(Value::as_array).cloned().unwrap_or_default();
        }
        Ok(())
    }

    async fn look(&mut self, client: &Client) -> Result<(), Problem> {
        let stats = client.get("/v1/stats", &[]).await?;
        self.rank(client).await?;
        let origins = client.get("/v1/origins", &[]).await?;
        self.origins =
            origins.get("origins").and_then(Value::as_array).cloned().unwrap_or_default();
        let before = std::mem::replace(&mut self.stats, stats);
        let delta =
            |name: &str| number(&self.stats, name).saturating_sub(number(&before, name)) as f64;
        let seconds = delta("/now_ms") / 1000.0;
        if before.is_null() || seconds <= 0.0 {
            return Ok(());
        }
        let hits = delta("/hits") + delta("/stale");
        let asked = hits + delta("/misses") + delta("/passes") + delta("/revalidated");
        let (bytes, origin_bytes) = (delta("/bytes"), delta("/origin_bytes"));
        self.rates = Rates {
            requests: delta("/requests") / seconds,
            bytes: bytes / seconds,
            origin_bytes: origin_bytes / seconds,
            saved: if bytes > 0.0 {
                (1.0 - origin_bytes / bytes).max(0.0)
            } else {
                self.rates.saved
            },
            ratio: if asked > 0.0 { hits / asked } else { self.rates.ratio },
        };
        keep(&mut self.requests, self.rates.requests as u64);
        keep(&mut self.ratios, (self.rates.ratio * 1000.0) as u64);
        keep(&mut self.savings, (self.rates.saved * 1000.0) as u64);
        Ok(())
    }

    fn servers(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.origins.iter().flat_map(|origin| {
            let servers = origin.get("servers").and_then(Value::as_array);
            servers.into_iter().flatten().map(move |server| (origin, server))
        })
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
        screen.heaviest.urls =
            vec![json!({"url": "h/a", "count": 7}), json!({"url": "h/b", "count": 5})];
        screen.missed.urls = vec![json!({"url": "h/missed-a", "count": 3})];
        screen.origins = vec![json!({"name": "app", "servers": [{"name": "s1", "state": "up"}]})];
        let press = |screen: &mut Screen, code| screen.key(KeyEvent::from(code));
        press(&mut screen, KeyCode::Char('/'));
        press(&mut screen, KeyCode::Char('a'));
        for (width, height) in [(120, 30), (80, 24), (20, 5), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| screen.draw(frame)).unwrap();
            let all = format!("{:?}", terminal.backend().buffer());
            assert_eq!(all.contains("h/missed-a"), width == 120, "both lists where there is room");
            if width == 120 {
                for shown in ["12.3 k requests", "2KiB of 4KiB", "████████░", "app s1", "h/a"]
                {
                    assert!(all.contains(shown), "{shown}: {all}");
                }
                assert!(!all.contains("h/b"), "filtered out");
            }
        }
        press(&mut screen, KeyCode::Esc);
        press(&mut screen, KeyCode::Char('M'));
        assert_eq!((screen.missed.by, screen.on_missed), ("miss_bytes", true));
        assert!(!press(&mut screen, KeyCode::Char('q')));
    }
}
