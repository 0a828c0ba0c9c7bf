//! The part of `brink cache` that talks to a running node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::cli::admin_client::{self, Client, Problem, Target, bytes, number, text};

/// Which node.
#[derive(Debug, Args)]
pub struct Node {
    #[command(flatten)]
    target: Target,
}

/// Which directory of which node.
#[derive(Debug, Args)]
pub struct One {
    /// The directory, as the node's configuration names it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    target: Target,
}

impl Node {
    /// Lists the directories.
    pub fn status(&self) -> ExitCode {
        admin_client::run(&self.target, async |client| {
            let answer = client.get("/v1/disk", &[]).await?;
            if self.target.json {
                admin_client::print_json(&answer);
                return Ok::<(), Problem>(());
            }
            let directories = answer.get("directories").and_then(Value::as_array);
            directories.into_iter().flatten().for_each(print);
            Ok(())
        })
    }
}

impl One {
    /// Puts the directory back into service.
    pub fn put_back(&self) -> ExitCode {
        self.set("ready")
    }

    /// Takes it out.
    pub fn take_out(&self) -> ExitCode {
        self.set("out")
    }

    fn set(&self, wish: &str) -> ExitCode {
        // The node knows it under its absolute name.
        let directory = std::path::absolute(&self.directory);
        let directory = directory.unwrap_or_else(|_| self.directory.clone());
        let body = json!({"directory": directory, "state": wish});
        admin_client::run(&self.target, async |client: Client| {
            let answer = client.call(Method::PUT, "/v1/disk", Some(&body)).await?;
            if self.target.json {
                admin_client::print_json(&answer);
            } else {
                print(&answer);
            }
            // One that is out again at once has not been put back.
            match text(&answer, "/state") {
                "out" if wish == "ready" => {
                    let why = text(&answer, "/reason").to_owned();
                    Err(Problem::Refused(http::StatusCode::CONFLICT, why))
                }
                _ => Ok(()),
            }
        })
    }
}

fn print(one: &Value) {
    println!(
        "{:<8} {}  {} of {} in {} records  {}",
        text(one, "/state"),
        text(one, "/directory"),
        bytes(number(one, "/bytes")),
        bytes(number(one, "/bytes_max")),
        number(one, "/records"),
        text(one, "/reason"),
    );
}
