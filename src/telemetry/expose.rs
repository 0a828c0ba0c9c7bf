//! `/metrics`: the table's rows with the counters' values, encoded by prometheus-client.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counters::{Count, Counters, Event, SOURCES, Totals};
use super::histogram::Merged;
use super::summary::summarise;
use super::table::{Kind, Metric, TABLE};
use crate::rules::outcome::Class;

/// Content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The exposition, OpenMetrics 1.0. Every row of the table is announced, also those
/// without a value yet.
pub fn text(counters: &Arc<Counters>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(Arc::clone(counters))));
    let mut out = String::with_capacity(16 * 1024);
    prometheus_client::encoding::text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Scrape(Arc<Counters>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let totals = self.0.merged();
        for metric in TABLE {
            let rows = Rows { metric, samples: samples(metric, &self.0, &totals) };
            // The encoder adds `_total` to counters itself.
            let name = metric.name.trim_end_matches("_total");
            let help = metric.help.trim_end_matches('.');
            let family = encoder.encode_descriptor(name, help, None, rows.metric_type())?;
            rows.encode(family)?;
        }
        Ok(())
    }
}

/// One metric's samples.
struct Rows<'a> {
    metric: &'a Metric,
    samples: Vec<(Vec<String>, Value)>,
}

enum Value {
    Number(f64),
    Spread(Box<Merged>),
}

impl EncodeMetric for Rows<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, value) in &self.samples {
            let labels: Vec<(&str, &str)> =
                self.metric.labels.iter().copied().zip(labels.iter().map(String::as_str)).collect();
            if labels.is_empty() {
                sample(self.metric.kind, value, &mut encoder)?;
            } else {
                sample(self.metric.kind, value, &mut encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        match self.metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
    }
}

fn sample(kind: Kind, value: &Value, encoder: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => {
            encoder.encode_counter::<NoLabelSet, f64, u64>(number, None)
        }
        (_, Value::Number(number)) => encoder.encode_gauge(number),
        (_, Value::Spread(spread)) => encoder.encode_histogram::<NoLabelSet>(
            spread.sum_us as f64 / 1e6,
            spread.count(),
            &spread.buckets(),
            None,
        ),
    }
}

fn samples(metric: &Metric, counters: &Counters, totals: &Totals) -> Vec<(Vec<String>, Value)> {
    let mut merged: HashMap<Vec<String>, f64> = HashMap::new();
    let mut emit = |labels: &[&str], value: f64| {
        let labels = labels.iter().take(metric.labels.len()).map(|label| clean(label)).collect();
        *merged.entry(labels).or_default() += value;
    };
    match metric.name {
        "brink_requests_total" => requests(totals, &mut emit),
        "brink_response_bytes_total" => {
            for (name, site) in &totals.sites {
                for (source, bytes) in SOURCES.iter().zip(&site.bytes) {
                    emit(&[name, source.word()], *bytes as f64);
                }
            }
        }
        "brink_responses_aborted_total" => emit(&[], totals.aborted as f64),
        "brink_request_hit_ratio" => emit(&[], summarise(totals).request_hit_ratio),
        "brink_byte_hit_ratio" => emit(&[], summarise(totals).byte_hit_ratio),
        "brink_request_duration_seconds" => return spreads(&totals.duration),
        "brink_ttfb_seconds" => return spreads(&totals.ttfb),
        "brink_faults_total" => counters.fault_rows(&mut emit),
        "brink_build_info" => emit(&[env!("CARGO_PKG_VERSION")], 1.0),
        name => {
            if let Some((count, _)) = Count::ALL.iter().find(|(_, row)| *row == name) {
                emit(&[], totals.counts.get(*count as usize).copied().unwrap_or(0) as f64);
            } else if let Some((event, _)) = Event::ALL.iter().find(|(_, row)| *row == name) {
                counters.rows(*event, &mut emit);
            } else if name.starts_with("brink_process_") {
                process(name, &mut emit);
            }
        }
    }
    counters.observed(metric.name, &mut emit);
    let mut out: Vec<_> =
        merged.into_iter().map(|(labels, value)| (labels, Value::Number(value))).collect();
    out.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    out
}

fn requests(totals: &Totals, emit: &mut dyn FnMut(&[&str], f64)) {
    const STATUS: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    for (name, site) in &totals.sites {
        for (class, protocols) in Class::ALL.iter().zip(&site.requests) {
            for (protocol, statuses) in ["h1", "h2"].iter().zip(protocols) {
                for (status, count) in STATUS.iter().zip(statuses) {
                    if *count > 0 {
                        emit(&[name, protocol, status, class.word()], *count as f64);
                    }
                }
            }
        }
    }
}

fn spreads(classes: &[Merged; Class::ALL.len()]) -> Vec<(Vec<String>, Value)> {
    let named = Class::ALL.iter().zip(classes).filter(|(_, spread)| spread.count() > 0);
    named
        .map(|(class, spread)| {
            (vec![class.word().to_owned()], Value::Spread(Box::new(spread.clone())))
        })
        .collect()
}

/// Label values come from configuration and origins: no control characters, no quotes
/// that the encoder would have to get right.
fn clean(label: &str) -> String {
    label
        .chars()
        .take(200)
        .map(|c| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c })
        .collect()
}

/// Figures of this process from `/proc`; silently absent where there is none.
fn process(name: &str, emit: &mut dyn FnMut(&[&str], f64)) {
    let stat = |field: usize| -> Option<f64> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the command in parentheses and may hold anything.
        stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
    };
    let value = match name {
        "brink_process_resident_bytes" => {
            stat(21).map(|pages| pages * rustix::param::page_size() as f64)
        }
        "brink_process_start_time_seconds" => {
            let boot = std::fs::read_to_string("/proc/stat").ok().and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
                line.trim().parse::<f64>().ok()
            });
            let ticks = rustix::param::clock_ticks_per_second() as f64;
            boot.zip(stat(19)).map(|(boot, start)| boot + start / ticks)
        }
        _ => std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64),
    };
    if let Some(value) = value {
        emit(&[], value);
    }
}

/// Content type of [`classic`].
pub const CLASSIC_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same exposition in the older text format, where a counter is announced by its full
/// name and nothing marks the end.
pub fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    for line in open.lines().filter(|line| *line != "# EOF") {
        let announced =
            ["# HELP ", "# TYPE "].iter().find_map(|p| Some((*p, line.strip_prefix(p)?)));
        let counter = announced.and_then(|(prefix, rest)| {
            let (name, rest) = rest.split_once(' ')?;
            let full = TABLE.iter().find(|row| row.name.strip_suffix("_total") == Some(name))?;
            Some(format!("{prefix}{} {rest}", full.name))
        });
        out.push_str(counter.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}
