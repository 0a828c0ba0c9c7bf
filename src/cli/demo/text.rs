//! What the demo writes: its configuration, its greeting, its last words.

use std::net::SocketAddr;

use super::Places;
use crate::base::ByteSize;
use crate::telemetry::Summary;

/// The node's configuration. The site ignores a browser's "no cache" wish, so that the
/// pages can ask past the browser's own cache and still see what the node does.
pub fn config(origin: SocketAddr, [http, https, admin]: [u16; 3]) -> String {
    format!(
        r#"
[node]
name = "demo"
drain = "5s"
[[listen]]
name = "http"
addr = "127.0.0.1:{http}"
[[listen]]
name = "https"
addr = "127.0.0.1:{https}"
tls = true
[[tls.certificate]]
cert = "cert.pem"
key = "key.pem"
[memory]
capacity = "64MiB"
[admin]
addr = "127.0.0.1:{admin}"
token_file = "token"
[[origin]]
name = "demo"
servers = ["http://{origin}"]
# The flaky page fails on purpose; that must not take the other pages away.
[origin.eject]
failures = 0
[origin.retry]
tries = 1
[[site]]
hosts = ["*"]
name = "demo"
origin = "demo"
honour_client_no_cache = false
languages = ["en", "de", "fr", "da"]
"#
    )
}

/// Addresses and things to try. Every line with `curl` works when it is pasted.
pub fn welcome(places: &Places) -> String {
    let Places { http, admin, token, .. } = places;
    let (cert, tls_port) = (places.cert.display(), places.https.port());
    format!(
        "\
Brink demo: a caching node in front of a small web server, both in this process.

  Site     http://{http}/   (open it in a browser: the pages show what the node did)
           https://localhost:{tls_port}/   (certificate for this run: {cert})
  Admin    http://{admin}/
  Token    {token}

Five things to try, in another terminal:

1. A slow page is slow once. The origin needs 2 s, the cache well under a millisecond.
   curl -s -o /dev/null -w '%{{time_total}} s\\n' http://{http}/slow
   curl -s -o /dev/null -w '%{{time_total}} s\\n' http://{http}/slow

2. Every answer says what happened: a hit or why not, how long it stays fresh, its age.
   curl -sD- -o /dev/null http://{http}/time | grep -iE 'cache-status|^age'

3. An outage that nobody sees. The origin works once, then fails with 500 for ever; after
   3 s the copy is stale and still served (stale-if-error). Look at fwd-status.
   curl -sD- http://{http}/flaky; sleep 4; curl -sD- http://{http}/flaky

4. Purge by tag. The page is a hit, one call later it is a miss.
   curl -sD- http://{http}/products/1 http://{http}/products/1 | grep -i cache-status
   curl -s -H 'Authorization: Bearer {token}' --json '{{\"tags\":[\"products\"]}}' http://{admin}/v1/purge
   curl -sD- http://{http}/products/1 | grep -i cache-status

5. HTTP/2 over TLS, and ten bytes out of the middle of a 4 MiB file that is kept whole.
   curl -sD- -o /dev/null --cacert {cert} https://localhost:{tls_port}/download/sample.bin
   curl -sD- -o /dev/null --cacert {cert} -r 2000000-2000009 https://localhost:{tls_port}/download/sample.bin

Ctrl-C ends the demo with a summary."
    )
}

/// What the node did.
pub fn goodbye(summary: &Summary) -> String {
    if summary.requests == 0 {
        return "No requests came in.".to_owned();
    }
    let saved = summary.bytes_memory + summary.bytes_disk;
    format!(
        "  Requests            {}
  Hit ratio           {:.1} % of requests, {:.1} % of bytes
  Sent to clients     {}
  Saved at the origin {} of body bytes; it was asked {} times",
        summary.requests,
        summary.request_hit_ratio * 100.0,
        summary.byte_hit_ratio * 100.0,
        ByteSize(summary.bytes),
        ByteSize(saved),
        summary.origin_requests,
    )
}
