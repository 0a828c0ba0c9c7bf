//! Reads trace files: finds out what they are, unpacks them, keeps account of bad lines.
//!
//! A log does not say how large an object is when the answer was 304, 206, HEAD or broken
//! off. Such requests get the largest whole size seen for their name, before or after;
//! the summary says how many sizes were inferred, and how many names had no whole answer
//! at all, for which the largest partial one stands in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::lines::{Form, Line};
use super::{Builder, NO_TTL, Request, Sampled, Trace};
use crate::telemetry::sample::MARK;

/// What is accepted.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Share of bad lines beyond which a file is refused. Default 1 %.
    pub bad_share_max: f64,
    /// Requests read at most. Default: no limit.
    pub requests_max: usize,
    /// Only names that contain this count.
    pub only: Option<String>,
    /// Names that contain one of these are left out.
    pub exclude: Vec<String>,
    /// Only these classes count; all if empty.
    pub classes: Vec<String>,
    /// What of the query belongs to the name.
    pub query: Query,
    /// Lifetimes in seconds of names that contain the text, where the trace has none; the
    /// first that fits.
    pub ttls: Vec<(String, u32)>,
}

/// What of a query tells objects apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// All of it, as it is.
    #[default]
    Keep,
    /// Its parameters, in whatever order.
    Sort,
    /// Nothing.
    Drop,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            bad_share_max: 0.01,
            requests_max: usize::MAX,
            only: None,
            exclude: Vec::new(),
            classes: Vec::new(),
            query: Query::Keep,
            ttls: Vec::new(),
        }
    }
}

/// What was read and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The form of the last file.
    pub form: String,
    /// Lines or records.
    pub lines: u64,
    /// Of them, requests no cache would answer.
    pub left_out: u64,
    /// Of them, unreadable ones.
    pub bad: u64,
    /// The first few unreadable ones, with their line numbers.
    pub bad_samples: Vec<String>,
    /// Requests whose size was taken from another answer for the same name.
    pub sizes_inferred: u64,
    /// Names that never had a whole answer.
    pub sizes_unknown: u64,
}

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or unpacked.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What happened.
        error: io::Error,
    },
    /// Too many lines make no sense.
    #[error("{path}: {bad} of {lines} lines are no {form}, for example {sample}")]
    Noise {
        /// The file.
        path: String,
        /// Unreadable lines.
        bad: u64,
        /// All lines.
        lines: u64,
        /// What the first line looked like.
        form: String,
        /// One of them.
        sample: String,
    },
    /// There is not one request in it.
    #[error("{0}: no requests")]
    Empty(String),
}

/// Reads files one after another as one trace. `progress` hears of each read block: the
/// bytes of the packed file. `-` is standard input.
pub fn read(
    paths: &[impl AsRef<Path>],
    options: &ReadOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<(Trace, Summary), ReadError> {
    let mut reading = Reading::new(options);
    for path in paths {
        let path = path.as_ref();
        let failed = |error| ReadError::Io { path: path.display().to_string(), error };
        let input = open(path).map_err(failed)?;
        let mut counted = Counted { input, progress: &mut *progress };
        let mut input = BufReader::with_capacity(1 << 16, unpack(&mut counted).map_err(failed)?);
        let before = (reading.summary.lines, reading.summary.bad);
        reading.file(&mut input).map_err(failed)?;
        let summary = &reading.summary;
        let (lines, bad) = (summary.lines - before.0, summary.bad - before.1);
        if bad as f64 > lines as f64 * options.bad_share_max {
            let sample = summary.bad_samples.first().cloned().unwrap_or_default();
            let (path, form) = (path.display().to_string(), summary.form.clone());
            return Err(ReadError::Noise { path, bad, lines, form, sample });
        }
    }
    if reading.builder.is_empty() {
        let names: Vec<String> =
            paths.iter().map(|path| path.as_ref().display().to_string()).collect();
        return Err(ReadError::Empty(names.join(", ")));
    }
    Ok(reading.finish())
}

struct Reading<'a> {
    options: &'a ReadOptions,
    builder: Builder,
    /// Largest whole and largest partial size of each object.
    sizes: Vec<(u64, u64)>,
    start: Option<i64>,
    sample: Option<Sampled>,
    summary: Summary,
}

/// Reads one unpacked file out of memory, however many of its lines are bad.
pub fn read_bytes(bytes: &[u8]) -> (Trace, Summary) {
    let options = ReadOptions::default();
    let mut reading = Reading::new(&options);
    // Memory does not fail; a trace would end there.
    _ = reading.file(&mut BufReader::new(Box::new(bytes)));
    reading.finish()
}

impl<'o> Reading<'o> {
    fn new(options: &'o ReadOptions) -> Self {
        Reading {
            options,
            builder: Builder::default(),
            sizes: Vec::new(),
            start: None,
            sample: None,
            summary: Summary::default(),
        }
    }

    fn file(&mut self, input: &mut BufReader<Box<dyn Read + '_>>) -> io::Result<()> {
        let text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..);
        let first = input.fill_buf()?;
        if first.len() >= RECORD && !first.iter().take(4096).all(text) {
            self.summary.form = "oracleGeneral".to_owned();
            return self.records(input);
        }
        let mut line = Vec::new();
        let mut form = None;
        while self.builder.len() < self.options.requests_max {
            line.clear();
            if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                self.sample = self.sample.or(sampled(text));
                continue;
            }
            if form.is_none() {
                let guess = form.insert(Form::guess(text));
                self.summary.form = guess.name().to_owned();
                if matches!(guess, Form::Csv(columns) if columns.header) {
                    continue;
                }
            }
            if let Some(form) = &form {
                self.line(form, text);
            }
        }
        Ok(())
    }

    fn line(&mut self, form: &Form, text: &str) {
        self.summary.lines += 1;
        match form.parse(text) {
            Ok(Some(line)) => self.wanted(line),
            Ok(None) => self.summary.left_out += 1,
            Err(()) => {
                self.summary.bad += 1;
                if self.summary.bad_samples.len() < 5 {
                    let shown: String = text.chars().take(120).collect();
                    let sample = format!("line {}: {shown:?}", self.summary.lines);
                    self.summary.bad_samples.push(sample);
                }
            }
        }
    }

    fn wanted(&mut self, mut line: Line) {
        let options = self.options;
        let plain = options.only.is_none() && options.exclude.is_empty();
        if !(plain && options.ttls.is_empty()) {
            let name = String::from_utf8_lossy(&line.name);
            let has = |text: &String| name.contains(text.as_str());
            if !options.only.iter().all(has) || options.exclude.iter().any(has) {
                self.summary.left_out += 1;
                return;
            }
            if line.ttl_s == NO_TTL {
                let rule = options.ttls.iter().find(|(text, _)| has(text));
                line.ttl_s = rule.map_or(NO_TTL, |(_, ttl)| *ttl);
            }
        }
        let class = |class: &String| class.as_bytes() == line.class;
        if !options.classes.is_empty() && !options.classes.iter().any(class) {
            self.summary.left_out += 1;
            return;
        }
        if options.query != Query::Keep {
            cut_query(&mut line.name, options.query);
        }
        let object = match line.variant.is_empty() {
            true => self.builder.object(&line.name),
            false => self.builder.variant(&line.name, &line.variant),
        };
        self.push(line.at_ms, object, (line.size, line.whole), line.ttl_s);
    }

    /// 24 bytes each, little endian: seconds, object, size, index of the next request.
    fn records(&mut self, input: &mut impl Read) -> io::Result<()> {
        let mut record = [0; RECORD];
        while self.builder.len() < self.options.requests_max {
            match input.read_exact(&mut record) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            self.summary.lines += 1;
            let [a, b, c, d, id @ .., _, _, _, _, _, _, _, _, _, _, _, _] = record;
            let [.., e, f, g, h, _, _, _, _, _, _, _, _] = record;
            let at_ms = i64::from(u32::from_le_bytes([a, b, c, d])) * 1000;
            let size = u64::from(u32::from_le_bytes([e, f, g, h]));
            let id: [u8; 8] = id;
            let object = self.builder.object(&id);
            self.push(at_ms, object, (size, true), NO_TTL);
        }
        Ok(())
    }

    fn push(&mut self, at_ms: i64, object: u32, (size, whole): (u64, bool), ttl_s: u32) {
        if object as usize == self.sizes.len() {
            self.sizes.push((0, 0));
        }
        let known = &mut self.sizes[object as usize];
        let slot = if whole { &mut known.0 } else { &mut known.1 };
        *slot = size.max(*slot);
        let start = *self.start.get_or_insert(at_ms);
        let at_ms = u64::try_from(at_ms - start).unwrap_or(0);
        // Zero marks a size to be inferred: no object costs nothing to store.
        let size = if whole { size.max(1) } else { 0 };
        self.builder.push(Request { at_ms, object, ttl_s, size });
    }

    fn finish(mut self) -> (Trace, Summary) {
        let mut trace = self.builder.finish();
        trace.sample = self.sample;
        let log = self.summary.form == Form::Log.name() || self.summary.form == Form::Json.name();
        for request in &mut trace.requests {
            let (whole, part) = self.sizes[request.object as usize];
            let largest = if whole > 0 { whole } else { part };
            if request.size == 0 {
                self.summary.sizes_inferred += 1;
            }
            // In a log a shorter 200 is a different encoding or a body broken off.
            if request.size == 0 || log {
                request.size = largest.max(1);
            }
        }
        self.summary.sizes_unknown =
            self.sizes.iter().filter(|(whole, _)| *whole == 0).count() as u64;
        (trace, self.summary)
    }
}

const RECORD: usize = 24;
/// A longer line is split, and its parts are bad lines.
const LINE_MAX: u64 = 64 * 1024;

fn sampled(line: &str) -> Option<Sampled> {
    let words = line.strip_prefix(MARK)?.split(' ');
    let values: Vec<f64> = words.filter_map(|word| word.split_once('=')?.1.parse().ok()).collect();
    let [rate, mean, requests, bytes] = values[..] else { return None };
    let sound = rate > 0.0 && rate <= 1.0 && mean >= 1.0 && requests >= 1.0 && bytes >= 1.0;
    sound.then_some(Sampled { rate, mean, requests: requests as u64, bytes: bytes as u64 })
}

/// Cuts a name's query down to what tells objects apart.
fn cut_query(name: &mut Vec<u8>, query: Query) {
    let Some(mark) = name.iter().position(|byte| *byte == b'?') else { return };
    let tail = name.split_off(mark);
    if query == Query::Sort {
        let mut parameters: Vec<&[u8]> = tail[1..].split(|byte| *byte == b'&').collect();
        parameters.sort_unstable();
        name.push(b'?');
        name.extend(parameters.join(&b'&'));
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path)?))
}

/// By magic number, as names lie.
fn unpack<'a>(input: &'a mut impl Read) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let first = input.fill_buf()?;
    Ok(match first {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(input),
    })
}

struct Counted<'a> {
    input: Box<dyn Read>,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        (self.progress)(count as u64);
        Ok(count)
    }
}
