//! Inputs as they come: packed or not, logs and records, good lines and bad.

use std::io::Write;
use std::path::PathBuf;

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn load(path: PathBuf, options: &ReadOptions) -> Result<(Trace, Summary), ReadError> {
    read(&[path], options, &mut |_| ())
}

const CSV: &str = "time,id,size,ttl,class,variant\n0,a,10,60,1,br\n1,a,20,60,1,gzip\n2,b,30,,2,\n\
                   3,a,10,60,1,br\n";

#[test]
fn what_is_packed_is_unpacked_whatever_its_name() {
    let files = Files::new();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(CSV.as_bytes()).unwrap();
    let zst = zstd::stream::encode_all(CSV.as_bytes(), 3).unwrap();
    let plain = load(files.write("plain", CSV.as_bytes()), &ReadOptions::default()).unwrap().0;
    for (name, bytes) in [("a.log", gz.finish().unwrap()), ("b.csv", zst)] {
        let (trace, summary) = load(files.write(name, &bytes), &ReadOptions::default()).unwrap();
        assert_eq!((&trace.requests, summary.form.as_str()), (&plain.requests, "csv"), "{name}");
    }
}

#[test]
fn variants_are_objects_of_one_name_and_their_cost_is_told() {
    let (trace, _) = read_bytes(CSV.as_bytes());
    assert_eq!((trace.objects(), trace.requests[1].ttl_s), (3, 60));
    let variants = trace.variants.as_ref().unwrap();
    assert_eq!(variants.varying(), 1);
    let costs = variants.costs(trace.requests.iter().map(|one| (one.object, one.size)));
    let gzip = costs.iter().find(|cost| cost.value == "gzip").unwrap();
    assert_eq!((gzip.requests, gzip.extra_misses, gzip.extra_bytes), (1, 1, 20));
}

#[test]
fn records_of_oracle_general_are_told_from_text() {
    let mut bytes = Vec::new();
    for n in 0..100u32 {
        bytes.extend(n.to_le_bytes());
        bytes.extend(u64::from(n % 7).to_le_bytes());
        bytes.extend((1000 + n % 7).to_le_bytes());
        bytes.extend((-1i64).to_le_bytes());
    }
    let (trace, summary) = read_bytes(&bytes);
    assert_eq!((summary.form.as_str(), summary.bad), ("oracleGeneral", 0));
    assert_eq!((trace.requests.len(), trace.objects()), (100, 7));
    assert_eq!((trace.requests[9].size, trace.requests[9].at_ms), (1002, 9000));
}

#[test]
fn bad_lines_are_counted_and_shown_and_too_many_are_refused() {
    let files = Files::new();
    let good = "h - - [22/Nov/2026:17:01:27 +0000] \"GET /a HTTP/1.1\" 200 5\n".repeat(200);
    let few =
        load(files.write("few", (good.clone() + "noise\n").as_bytes()), &ReadOptions::default());
    let (trace, summary) = few.unwrap();
    assert_eq!((trace.requests.len(), summary.bad), (200, 1));
    assert!(summary.bad_samples[0].contains("line 201: \"noise\""), "{summary:?}");
    let many = good + &"noise\n".repeat(20);
    let refused = load(files.write("many", many.as_bytes()), &ReadOptions::default());
    assert!(matches!(refused, Err(ReadError::Noise { bad: 20, .. })), "{refused:?}");
    let lenient = ReadOptions { bad_share_max: 0.5, ..ReadOptions::default() };
    assert_eq!(load(files.write("many", many.as_bytes()), &lenient).unwrap().1.bad, 20);
}

#[test]
fn sizes_of_answers_without_a_body_come_from_whole_ones() {
    let log = "h - - [22/Nov/2026:17:01:27 +0000] \"GET /a HTTP/1.1\" 304 0\n\
               h - - [22/Nov/2026:17:01:28 +0000] \"HEAD /a HTTP/1.1\" 200 0\n\
               h - - [22/Nov/2026:17:01:29 +0000] \"GET /a HTTP/1.1\" 206 100\n\
               h - - [22/Nov/2026:17:01:30 +0000] \"GET /a HTTP/1.1\" 200 500\n\
               h - - [22/Nov/2026:17:01:31 +0000] \"GET /b HTTP/1.1\" 206 70\n\
               h - - [22/Nov/2026:17:01:32 +0000] \"POST /b HTTP/1.1\" 200 70\n";
    let (trace, summary) = read_bytes(log.as_bytes());
    let sizes: Vec<u64> = trace.requests.iter().map(|request| request.size).collect();
    assert_eq!(sizes, [500, 500, 500, 500, 70]);
    assert_eq!((summary.sizes_inferred, summary.sizes_unknown, summary.left_out), (4, 1, 1));
}

#[test]
fn filters_queries_and_lifetimes_follow_the_options() {
    let files = Files::new();
    let line = |target: &str| {
        format!("h - - [22/Nov/2026:17:01:27 +0000] \"GET {target} HTTP/1.1\" 200 5\n")
    };
    let log: String = ["/img/a?x=1&y=2", "/img/a?y=2&x=1", "/api/b", "/img/c"].map(line).concat();
    let path = files.write("log", log.as_bytes());
    let options = ReadOptions {
        exclude: vec!["/api/".to_owned()],
        query: Query::Sort,
        ttls: vec![("/a".to_owned(), 60), (String::new(), 5)],
        ..ReadOptions::default()
    };
    let (trace, summary) = load(path.clone(), &options).unwrap();
    assert_eq!((trace.objects(), trace.requests.len(), summary.left_out), (2, 3, 1));
    assert_eq!([trace.requests[0].ttl_s, trace.requests[2].ttl_s], [60, 5]);
    let only = ReadOptions { only: Some("/img/a".to_owned()), ..ReadOptions::default() };
    assert_eq!(load(path, &only).unwrap().0.objects(), 2);
    let classes = ReadOptions { classes: vec!["2".to_owned()], ..ReadOptions::default() };
    let (trace, _) = load(files.write("csv", CSV.as_bytes()), &classes).unwrap();
    assert_eq!(trace.requests.len(), 1);
}
