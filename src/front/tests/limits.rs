//! Deadlines and caps, with short deadlines and raw clients.

use super::*;

fn quick(change: impl FnOnce(&mut Deadlines)) -> Options {
    let mut options = plain();
    change(&mut options.deadlines);
    options
}

const SHORT: Duration = Duration::from_millis(60);

#[test]
fn a_slow_head_is_answered_408() {
    let (running, address) = start(quick(|d| d.head = SHORT));
    let all = ask(address, b"GET / HTTP/1.1\r\nHost: a\r\nX:");
    assert!(all.starts_with("HTTP/1.1 408"), "{all}");
    assert!(all.contains("connection: close"));
    assert_eq!(running.stats().head_timeouts, 1);
    running.drain(Duration::from_secs(5));
}

#[test]
fn an_idle_connection_is_closed_in_silence() {
    let (running, address) = start(quick(|d| d.idle = SHORT));
    assert_eq!(ask(address, b""), "");
    let all = ask(address, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n");
    assert!(all.ends_with("GET /x 0"), "{all}");
    assert_eq!(running.stats().idle_timeouts, 2);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_stalled_body_fails() {
    let (running, address) = start(quick(|d| d.body_idle = SHORT));
    let all = ask(address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert!(all.starts_with("HTTP/1.1 408"), "{all}");
    assert_eq!(running.stats().body_timeouts, 1);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_body_below_the_floor_rate_fails() {
    let (running, address) = start(quick(|d| {
        d.body_grace = Duration::from_millis(1100);
        d.body_rate_min = 1_000_000;
    }));
    let mut stream = connect(address);
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n").unwrap();
    let mut feeder = stream.try_clone().unwrap();
    let feeding = std::thread::spawn(move || {
        while feeder.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut all = String::new();
    let mut bytes = [0u8; 512];
    while let Ok(n @ 1..) = stream.read(&mut bytes) {
        all += &String::from_utf8_lossy(&bytes[..n]);
    }
    assert!(all.starts_with("HTTP/1.1 408"), "{all}");
    drop(stream);
    feeding.join().unwrap();
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let (running, address) = start(quick(|d| d.write_stall = SHORT));
    let mut stream = connect(address);
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the write stall", || running.stats().write_timeouts == 1);
    until("the connection is gone", || running.connections() == 0);
    running.drain(Duration::from_secs(5));
}

#[test]
fn an_address_has_its_cap_and_the_node_too() {
    let mut options = plain();
    options.limits.connections_per_address_max = 2;
    let (running, address) = start(options);
    let _two = [connect(address), connect(address)];
    until("both are in", || running.connections() == 2);
    let third = rest(connect(address));
    assert!(third.starts_with("HTTP/1.1 503") && third.contains("Retry-After: 1"), "{third}");
    assert_eq!(running.stats().shed_address, 1);
    running.drain(Duration::ZERO);

    let mut options = plain();
    options.limits.connections_max = 1;
    let (running, address) = start(options);
    let one = connect(address);
    until("it is in", || running.connections() == 1);
    assert!(rest(connect(address)).starts_with("HTTP/1.1 503"));
    assert_eq!(running.stats().shed_total, 1);
    drop(one);
    until("room again", || running.connections() == 0);
    assert!(ask(address, b"GET /x HTTP/1.0\r\n\r\n").ends_with("GET /x 0"));
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_proxy_header_from_a_listed_network_names_the_client() {
    let mut options = plain();
    options.listeners[0].proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
    let (running, address) = start(options);
    let named = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nGET /peer HTTP/1.0\r\n\r\n";
    assert!(ask(address, named).ends_with("192.0.2.7:4711"));
    assert_eq!(ask(address, b"GET /peer HTTP/1.0\r\nX: long enough\r\n\r\n"), "");
    running.drain(Duration::from_secs(5));
}
