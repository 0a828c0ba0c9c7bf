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
  brink origin resume app app-1     back in use, slowly
  brink origin weight app app-1 50
  brink origin switch app --to green   from the next request on, another group answers
  brink origin rollback app            back to who answered before

Exit code: 0 done, 1 no such server or no node answered, 2 wrong usage.";

/// Show origins and their servers, drain and resume a server, switch and roll back
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
    #[command(visible_alias = "up")]
    Resume {
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
    /// Let another origin answer in place of this one, atomically
    Switch {
        /// Name of the origin that sites refer to
        origin: String,
        /// Name of the origin that answers from now on; its own name ends a switch
        #[arg(long, value_name = "ORIGIN")]
        to: String,
    },
    /// Go back to who answered before the last switch
    #[command(visible_alias = "roll-back")]
    Rollback {
        /// Name of the origin
        origin: String,
    },
}

impl Origin {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let Origin { verb, target } = self;
        admin_client::run(&target, async |client| {
            let part =
                |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let whole = |origin: &str| format!("/v1/origins/{}", part(origin));
            let one = |origin: &str, server: &str| {
                format!("/v1/origins/{}/servers/{}", part(origin), part(server))
            };
            let (path, change) = match verb {
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
                Verb::Drain { origin, server } => {
                    (one(&origin, &server), json!({"state": "drain"}))
                }
                Verb::Resume { origin, server } => {
                    (one(&origin, &server), json!({"state": "resume"}))
                }
                Verb::Weight { origin, server, weight } => {
                    (one(&origin, &server), json!({"weight": weight}))
                }
                Verb::Switch { origin, to } => (whole(&origin), json!({"switch_to": to})),
                Verb::Rollback { origin } => (whole(&origin), json!({"roll_back": true})),
            };
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
    let to = group.get("switched_to").and_then(Value::as_str);
    let to = to.map(|to| format!("  switched to {to}")).unwrap_or_default();
    let fails = group.get("failing").and_then(Value::as_bool).unwrap_or(false);
    println!("{}{to}{}", text(group, "/name"), if fails { "  fails" } else { "" });
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
