//! Advice for a running node, from the sample it keeps of its own requests.
//!
//! Policies are run over the small model in the sample; what the model over- or
//! underestimates is known for LRU, whose curve comes from the whole sample with weights,
//! and that difference is taken off the other policies' figures (a control variate). So
//! large objects, of which the model has few, do not decide over the advice by chance.
//!
//! First requests count as misses, so a node that has only just started is told to wait.

use serde::Serialize;

use super::curve::{self, Point, Sampling};
use super::report::human;
use super::simulate::{Outcome, Setup, Weigh, simulate};
use super::trace::{Builder, NO_TTL, Request, Sampled, Trace};
use crate::store::policy::admission::AdmitPolicy;
use crate::telemetry::sample::Snapshot;

/// Bytes of key and head reckoned for an object.
const HEAD: u64 = 300;
/// Sizes of the curve.
const SIZES: usize = 13;
/// Requests below which no advice is given.
const REQUESTS_MIN: u64 = 1_000;

/// What the node has today.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk, if there is a disk tier.
    pub disk: Option<u64>,
    /// What is written to it.
    pub admit: AdmitPolicy,
}

/// What was asked for, and what the sample holds of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Basis {
    /// Seconds the sample covers.
    pub seconds: f64,
    /// All requests in that time.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests in the sample.
    pub sampled: usize,
    /// Share of the keys in it.
    pub rate: f64,
    /// Bytes of all distinct objects.
    pub footprint: u64,
}

/// What one choice of sizes would do.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// In words.
    pub what: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: Option<u64>,
    /// Share of requests that need no body from the origin.
    pub request_hit_ratio: f64,
    /// Share of bytes that do not come from the origin.
    pub byte_hit_ratio: f64,
    /// Mbit/s from the origin, on average over the sample.
    pub origin_mbit_s: f64,
    /// Mbit/s written to disk.
    pub disk_mbit_s: f64,
}

/// Everything `GET /v1/lab/curve` answers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it rests on.
    pub basis: Basis,
    /// Today's sizes first.
    pub choices: Vec<Choice>,
    /// Miss ratio over the size of memory, by policy.
    pub curves: Vec<(String, Vec<Point>)>,
    /// Sentences.
    pub advice: Vec<String>,
}

/// The sample as a trace.
pub fn trace(snapshot: &Snapshot) -> Trace {
    let mut builder = Builder::default();
    let start = snapshot.seen.first().map_or(0, |seen| seen.at_cs);
    for seen in &snapshot.seen {
        let object = builder.object(&seen.key.to_le_bytes());
        let at_ms = u64::from(seen.at_cs.saturating_sub(start)) * 10;
        let ttl_s = if seen.ttl_s == u32::MAX { NO_TTL } else { seen.ttl_s };
        builder.push(Request { at_ms, object, ttl_s, size: seen.size.max(1) });
    }
    let mut trace = builder.finish();
    let (gate, requests, bytes) = (snapshot.gate, snapshot.requests, snapshot.bytes);
    trace.sample = Some(Sampled { rate: gate.rate, mean: gate.mean, requests, bytes });
    trace
}

/// Reckons with the sample; a second of work at most.
pub fn report(snapshot: &Snapshot, room: Room) -> Report {
    let trace = trace(snapshot);
    let seconds = trace.requests.last().map_or(0, |last| last.at_ms).max(1) as f64 / 1000.0;
    let footprint = trace.footprint();
    let basis = Basis {
        seconds,
        requests: trace.asked(),
        bytes: trace.bytes(),
        sampled: trace.requests.len(),
        rate: snapshot.gate.rate,
        footprint,
    };
    let reckoner = Reckoner { model: trace.model(), trace, basis };
    let choices = reckoner.choices(room);
    let most = footprint.max(room.memory.saturating_mul(4)).max(1 << 20);
    let least = most / 10_000;
    let sizes: Vec<u64> = (0..SIZES)
        .map(|step| {
            let share = step as f64 / (SIZES - 1) as f64;
            (least as f64 * (most as f64 / least as f64).powf(share)) as u64
        })
        .collect();
    let curves = reckoner.curves(&sizes);
    let advice = advice(&basis, &choices, room);
    Report { basis, choices, curves, advice }
}

struct Reckoner {
    trace: Trace,
    model: Trace,
    basis: Basis,
}

const WEIGH: Weigh = Weigh::Node { head: HEAD };

impl Reckoner {
    /// What the weighted LRU says more than LRU on the model, in requests and bytes missed.
    fn correction(&self, sizes: &[u64]) -> Vec<(Point, f64, f64)> {
        let all = Sampling { rate: 1.0, keys_max: None };
        let weighted = curve::curve(&self.trace, all, WEIGH, sizes);
        let rate = self.basis.rate;
        let small: Vec<u64> = sizes.iter().map(|size| (*size as f64 * rate) as u64).collect();
        let model = curve::curve(&self.model, all, WEIGH, &small);
        let difference = |(weighted, model): (Point, Point)| {
            (weighted, weighted.objects - model.objects, weighted.bytes - model.bytes)
        };
        weighted.into_iter().zip(model).map(difference).collect()
    }

    fn run(&self, policy: &str, memory: u64, disk: Option<u64>, admit: AdmitPolicy) -> Outcome {
        let setup =
            Setup { disk, admit, ttl: true, weigh: WEIGH, ..Setup::memory_only(policy, memory) };
        // The names are our own.
        simulate(&self.trace, &setup, &|_| ()).unwrap_or_default()
    }

    fn choice(&self, what: String, room: Room) -> Choice {
        let policy = if room.disk.is_some() { "before-disk" } else { "auto" };
        let outcome = self.run(policy, room.memory, room.disk, room.admit);
        let total = room.memory + room.disk.unwrap_or(0);
        let correction = self.correction(&[total]);
        let (objects, bytes) = correction.first().map_or((0.0, 0.0), |(_, one, two)| (*one, *two));
        let (total, basis) = (&outcome.total, &self.basis);
        let missed = (total.byte_miss_ratio() + bytes).clamp(0.0, 1.0);
        let mbit_s = |bytes: f64| bytes * 8.0 / 1e6 / basis.seconds;
        Choice {
            what,
            memory: room.memory,
            disk: room.disk,
            request_hit_ratio: (1.0 - total.miss_ratio() - objects).clamp(0.0, 1.0),
            byte_hit_ratio: 1.0 - missed,
            origin_mbit_s: mbit_s(missed * basis.bytes as f64),
            disk_mbit_s: mbit_s(outcome.disk_written as f64),
        }
    }

    fn choices(&self, room: Room) -> Vec<Choice> {
        let double = Room { memory: room.memory * 2, ..room };
        let half = Room { memory: (room.memory / 2).max(1), ..room };
        let mut choices = vec![
            self.choice("now".to_owned(), room),
            self.choice(format!("+{} of memory", human(room.memory)), double),
            self.choice(format!("-{} of memory", human(room.memory / 2)), half),
        ];
        let disk = room.disk.unwrap_or(room.memory.saturating_mul(10));
        let (evicted, all) = (AdmitPolicy::Evicted, AdmitPolicy::All);
        let with = |disk: u64, admit| Room { disk: Some(disk), admit, ..room };
        if room.disk.is_some() {
            choices
                .push(self.choice(format!("+{} of disk", human(disk)), with(disk * 2, room.admit)));
        }
        let named = |word: &str| format!("a disk of {}, admit = \"{word}\"", human(disk));
        choices.push(self.choice(named("evicted"), with(disk, evicted)));
        choices.push(self.choice(named("all"), with(disk, all)));
        choices
    }

    fn curves(&self, sizes: &[u64]) -> Vec<(String, Vec<Point>)> {
        let correction = self.correction(sizes);
        let floor = self.trace.compulsory();
        let point = |(lru, objects, bytes): &(Point, f64, f64)| {
            let total = self.run("auto", lru.size, None, AdmitPolicy::All).total;
            Point {
                objects: (total.miss_ratio() + objects).clamp(floor.0.min(lru.objects), 1.0),
                bytes: (total.byte_miss_ratio() + bytes).clamp(floor.1.min(lru.bytes), 1.0),
                ..*lru
            }
        };
        let auto = correction.iter().map(point).collect();
        let lru = correction.iter().map(|(lru, ..)| *lru).collect();
        vec![("auto".to_owned(), auto), ("lru".to_owned(), lru)]
    }
}

fn advice(basis: &Basis, choices: &[Choice], room: Room) -> Vec<String> {
    let (requests, sampled) = (basis.requests, basis.sampled);
    let mut lines = vec![format!(
        "{requests} requests of the last {} for {}; {sampled} of them in the sample ({:.2} % of \
         the keys).",
        span(basis.seconds),
        human(basis.footprint),
        basis.rate * 100.0
    )];
    let Some((now, others)) = choices.split_first() else { return lines };
    if basis.requests < REQUESTS_MIN {
        lines.push("That is too little to advise on: ask again after more traffic.".to_owned());
        return lines;
    }
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let disk = room.disk.map_or(String::new(), |disk| format!(" and {} of disk", human(disk)));
    lines.push(format!(
        "now {}{disk}: {} of requests and {} of bytes need nothing from the origin, which sends \
         {:.1} Mbit/s",
        human(room.memory),
        percent(now.request_hit_ratio),
        percent(now.byte_hit_ratio),
        now.origin_mbit_s
    ));
    for choice in others {
        let saved = now.origin_mbit_s - choice.origin_mbit_s;
        let word = if saved < 0.0 { "more" } else { "less" };
        let written = match choice.disk {
            Some(_) => format!(", {:.1} Mbit/s written to disk", choice.disk_mbit_s),
            None => String::new(),
        };
        lines.push(format!(
            "{}: {} of requests, {} of bytes, {:.1} Mbit/s {word} from the origin{written}",
            choice.what,
            percent(choice.request_hit_ratio),
            percent(choice.byte_hit_ratio),
            saved.abs()
        ));
    }
    let [.., chosen, all] = choices else { return lines };
    let spared = all.disk_mbit_s - chosen.disk_mbit_s;
    let share = spared / all.disk_mbit_s.max(1e-9);
    lines.push(format!(
        "disk admission would save {:.1} Mbit/s of writes ({}) for {:+.1} points of bytes",
        spared,
        percent(share.max(0.0)),
        (chosen.byte_hit_ratio - all.byte_hit_ratio) * 100.0
    ));
    lines
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s >= 7200.0 => format!("{:.1} hours", s / 3600.0),
        s if s >= 120.0 => format!("{:.0} minutes", s / 60.0),
        s => format!("{s:.0} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::generate::{Workload, generate};
    use crate::telemetry::sample::{Options, Sample};

    /// A node's sample of a generated workload.
    fn sampled(requests: usize) -> (Trace, Snapshot) {
        let workload = Workload { requests, objects: requests / 8, ..Workload::default() };
        let whole = generate(&workload, 5);
        let sample = Sample::new(Options::default());
        for request in &whole.requests {
            let key = whole.keys[request.object as usize] as u64;
            sample.note(key, request.size, request.at_ms, u32::MAX);
        }
        (whole, sample.snapshot().unwrap())
    }

    #[test]
    fn a_sample_of_a_third_advises_what_the_whole_would() {
        let (whole, snapshot) = sampled(300_000);
        assert!(snapshot.gate.rate < 1.0);
        let memory = whole.footprint() / 20;
        let room = Room { memory, disk: None, admit: AdmitPolicy::Evicted };
        let report = report(&snapshot, room);
        let setup = Setup { weigh: WEIGH, ..Setup::memory_only("auto", memory) };
        let exact = simulate(&whole, &setup, &|_| ()).unwrap().total;
        let now = &report.choices[0];
        assert!((now.request_hit_ratio - 1.0 + exact.miss_ratio()).abs() < 0.03, "{now:?}");
        assert!((now.byte_hit_ratio - 1.0 + exact.byte_miss_ratio()).abs() < 0.05, "{now:?}");
        assert!(report.choices[1].byte_hit_ratio > now.byte_hit_ratio);
        assert!(report.advice.len() > 4, "{:?}", report.advice);
    }

    #[test]
    fn what_is_written_is_read_back_as_the_same_sample_under_other_names() {
        let (_, snapshot) = sampled(300_000);
        let (one, other) = (snapshot.csv(1), snapshot.csv(2));
        let (read, summary) = crate::lab::trace::read_bytes(one.as_bytes());
        assert_eq!((summary.bad, read.requests.len()), (0, snapshot.seen.len()));
        assert_eq!(read.sample, trace(&snapshot).sample);
        let second = |text: &str| text.lines().nth(2).map(str::to_owned);
        assert_ne!(second(&one), second(&other));
    }
}
