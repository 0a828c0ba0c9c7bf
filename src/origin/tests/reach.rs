//! Ways to a server: names, families, Unix sockets, the PROXY protocol.

use std::net::IpAddr;
use std::sync::atomic::AtomicU8;

use http::Method;
use http_body_util::BodyExt;
use tokio::net::{UdpSocket, UnixListener};

use super::*;
use crate::origin::Address;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn localhost_is_found_without_a_name_server() {
    let script = Script::constant(OK).await;
    let mut options = script.options();
    let address = format!("http://localhost:{}", script.address.port());
    options.servers[0].address = address.parse().unwrap();
    options.discovery.name_servers = vec!["127.0.0.1:9".parse().unwrap()];
    // The script listens on IPv4 only: where the name leads to ::1 too, that one refuses.
    assert_eq!(fetch(&Group::new(options).unwrap(), "/").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_unix_socket_is_an_origin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        loop {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => seen.push(byte),
                    Err(_) => return,
                }
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    });
    let group = Group::new(GroupOptions::single("x", &format!("unix:{}", path.display())).unwrap());
    let group = group.unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok"))));
    }
}

#[tokio::test]
async fn the_proxy_protocol_carries_the_client_and_is_not_shared() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let script = Script::start(move |_, mut stream| {
        let told = told.clone();
        async move {
            let mut header = [0; 28];
            stream.read_exact(&mut header).await.unwrap();
            told.send(header).unwrap();
            while !read_head(&mut stream).await.is_empty() {
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        }
    })
    .await;
    let mut options = script.options();
    options.proxy_protocol = true;
    let group = Group::new(options).unwrap();
    for client in ["192.0.2.1:1025", "192.0.2.2:1026"] {
        let client: SocketAddr = client.parse().unwrap();
        let node: SocketAddr = "198.51.100.7:443".parse().unwrap();
        let cx = SendContext { client: Some((client, node)), ..SendContext::default() };
        let answer = group.send(request(Method::GET, "/"), &cx).await.unwrap();
        answer.response.into_body().collect().await.unwrap();
        let header = heard.recv().await.unwrap();
        assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
        let IpAddr::V4(ip) = client.ip() else { unreachable!() };
        assert_eq!(header[16..20], ip.octets());
        assert_eq!(header[24..26], client.port().to_be_bytes());
    }
    assert_eq!(script.count(), 2);
}

/// A name server that answers A with 127.0.0.1 and SRV with two ports, with a TTL of one
/// second, until `mode` says otherwise.
async fn name_server(ports: [u16; 2], mode: Arc<AtomicU8>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
            let query = &buffer[..length];
            let end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
            let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
            let mut answers: Vec<Vec<u8>> = Vec::new();
            match (mode.load(Ordering::SeqCst), kind) {
                (FAIL, _) => {}
                (_, 1) => answers.push(vec![127, 0, 0, 1]),
                (mode, 33) => {
                    let count = if mode == ONE_SERVICE { 1 } else { 2 };
                    answers.extend(ports.iter().take(count).map(|port| {
                        let mut data = vec![0, 1, 0, 5];
                        data.extend_from_slice(&port.to_be_bytes());
                        data.extend_from_slice(b"\x03app\x04test\0");
                        data
                    }));
                }
                _ => {}
            }
            let code = if mode.load(Ordering::SeqCst) == FAIL { 0x82 } else { 0x80 };
            let mut reply = query[..2].to_vec();
            reply.extend_from_slice(&[0x81, code, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
            reply.extend_from_slice(&query[12..end]);
            for data in answers {
                reply.extend_from_slice(&[0xc0, 12]);
                reply.extend_from_slice(&kind.to_be_bytes());
                reply.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
                reply.extend_from_slice(&(data.len() as u16).to_be_bytes());
                reply.extend_from_slice(&data);
            }
            let _ = socket.send_to(&reply, from).await;
        }
    });
    address
}

const FAIL: u8 = 1;
const ONE_SERVICE: u8 = 2;

#[tokio::test]
async fn the_last_good_address_is_kept_when_dns_fails() {
    let script = Script::constant(OK).await;
    let mode = Arc::new(AtomicU8::new(0));
    let names = name_server([1, 2], mode.clone()).await;
    let mut options = script.options();
    let address = format!("http://app.test:{}", script.address.port());
    options.servers[0].address = address.parse().unwrap();
    options.discovery.name_servers = vec![names];
    options.discovery.ttl_min = Duration::ZERO;
    options.discovery.ttl_max = Duration::from_millis(10);
    options.pool.age_max = Duration::ZERO;
    let group = Group::new(options.clone()).unwrap();
    assert_eq!(fetch(&group, "/").await.unwrap().0, 200);
    assert_eq!(group.state().servers[0].resolved, [script.address.to_string()]);
    mode.store(FAIL, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(30)).await;
    for _ in 0..3 {
        assert_eq!(fetch(&group, "/").await.unwrap().0, 200);
    }
    let fault = fetch(&Group::new(options).unwrap(), "/").await.unwrap_err();
    assert_eq!(fault, OriginFault::Connect("the origin's name cannot be resolved"));
}

#[tokio::test]
async fn an_srv_name_is_a_fleet_that_follows_dns() {
    let (a, b) = (Script::constant(OK).await, Script::constant(OK).await);
    let mode = Arc::new(AtomicU8::new(0));
    let names = name_server([a.address.port(), b.address.port()], mode.clone()).await;
    let mut options = GroupOptions::single("srv", "srv+http://_http._tcp.app.test").unwrap();
    options.discovery.name_servers = vec![names];
    options.discovery.ttl_min = Duration::ZERO;
    options.discovery.ttl_max = Duration::from_millis(20);
    options.balance = crate::origin::Balance::RoundRobin;
    let group = Group::new(options).unwrap();
    for _ in 0..4 {
        assert_eq!(fetch(&group, "/").await.unwrap().0, 200);
    }
    assert_eq!((a.count(), b.count()), (1, 1), "both are asked, each on one connection");
    group.watch();
    mode.store(ONE_SERVICE, Ordering::SeqCst);
    until(|| group.state().servers.len() == 1).await;
    assert_eq!(fetch(&group, "/").await.unwrap().0, 200);
    assert_eq!(a.count(), 1, "the server that stays keeps its connections");
    mode.store(FAIL, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(group.state().servers.len(), 1, "DNS that fails changes nothing");
}

#[tokio::test]
async fn the_host_of_a_server_replaces_the_requests() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let script = Script::start(move |_, mut stream| {
        let told = told.clone();
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                told.send(String::from_utf8(head).unwrap()).unwrap();
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        }
    })
    .await;
    let mut options = script.options();
    fetch(&Group::new(options.clone()).unwrap(), "/a?b").await.unwrap();
    let head = heard.recv().await.unwrap();
    assert_eq!(head, "GET /a?b HTTP/1.1\r\nhost: example.com\r\n\r\n");
    options.servers[0].host = Some("inside.test".to_owned());
    let group = Group::new(options.clone()).unwrap();
    fetch(&group, "/").await.unwrap();
    assert!(heard.recv().await.unwrap().contains("\r\nhost: inside.test\r\n"));
    options.servers[0].host = None;
    let mut bare = http::Request::new(Outgoing::empty());
    *bare.uri_mut() = "http://elsewhere/x".parse().unwrap();
    *bare.version_mut() = http::Version::HTTP_3;
    let group = Group::new(options).unwrap();
    group.send(bare, &SendContext::default()).await.unwrap();
    let head = heard.recv().await.unwrap();
    assert_eq!(head, format!("GET /x HTTP/1.1\r\nhost: {}\r\n\r\n", script.address));
}

#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next() {
    let script = Script::constant(OK).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stream = crate::origin::wire::open_tcp(&[closed, script.address]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), script.address);
    let none: Result<_, OriginFault> = crate::origin::wire::open_tcp(&[]).await;
    assert!(matches!(none, Err(OriginFault::Connect(_))));
    assert!("http://app.test:80".parse::<Address>().is_ok());
}
