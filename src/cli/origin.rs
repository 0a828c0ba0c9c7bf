//! `brink origin`: the origins of a running node, and taking servers out of use.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::admin_client::{self, Problem, Target, number, text};

const EXAMPLES: &str = "\
Examples:
  brink origin list
  brink origin drain app app-1      requests in flight finish, new ones go elsewhere
  brink origin up app app-1         back in use, slowly
  brink origin weight app app-1 50

Exit code: 0 done, 1 no such server or no node answered, 2 wrong usage.";

/// Show origins and their servers, drain a server, take it back
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Origin {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All origins and servers
    List,
    /// Take a server out of use
    Drain {
        /// Name of the origin
        origin: String,
        /// Name of the server
        server: String,
    },
    /// Take a server back into use
    Up {
        /// Name of the origin
        origin: String,
        /// Name of the server
        server: String,
    },
    /// Change a server's share
    Weight {
        /// Name of the origin
        origin: String,
        /// Name of the server
        server: String,
        /// 0 to 1000
        weight: u32,
    },
}

impl Origin {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let Origin { verb, target } = self;
        admin_client::run(&target, async |client| {
            let (origin, server, change) = match verb {
                Verb::List => {
                    let answer = client.get("/v1/origins", &[]).await?;
                    if target.json {
                        admin_client::print_json(&answer);
                    } else {
                        let groups = answer.get("origins").and_then(Value::as_array);
                        groups.into_iter().flatten().for_each(print);
                    }
                    return Ok::<(), Problem>(());
                }
                Verb::Drain { origin, server } => (origin, server, json!({"state": "drain"})),
                Verb::Up { origin, server } => (origin, server, json!({"state": "up"})),
                Verb::Weight { origin, server, weight } => {
                    (origin, server, json!({"weight": weight}))
                }
            };
            let part =
                |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let path = format!("/v1/origins/{}/servers/{}", part(&origin), part(&server));
            let group = client.call(Method::PUT, &path, Some(&change)).await?;
            if target.json {
                admin_client::print_json(&group)
            } else {
                print(&group)
            }
            Ok(())
        })
    }
}

fn print(group: &Value) {
    println!("{}", text(group, "/name"));
    for server in group.get("servers").and_then(Value::as_array).into_iter().flatten() {
        let latency = server.get("latency_ms").and_then(Value::as_f64).unwrap_or(0.0);
        println!(
            "  {:<24} {:<10} weight {:<4} {} in flight, {} requests, {} failed, \
             {latency:.1} ms  {}",
            text(server, "/name"),
            text(server, "/state"),
            number(server, "/weight"),
            number(server, "/in_flight"),
            number(server, "/requests"),
            number(server, "/failures"),
            text(server, "/reason")
        );
    }
}
