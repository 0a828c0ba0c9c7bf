//! How the node of a world is configured: by the text an operator would write, but for the
//! sizes, which are far below what a configuration allows, so that everything is always
//! full. The seed decides which engine and which admission run.

use std::path::Path;

use brink::base::ByteSize;
use brink::config::Config;
use brink::store::disk::AdmitPolicy;
use brink::store::memory::MemoryPolicy;

use super::law::Plan;

/// Bytes of the memory tier.
pub const MEMORY: u64 = 160 << 10;
/// Bytes of the disk tier.
pub const DISK: u64 = 1 << 20;

/// The configuration of the world of `seed` under `plan` with so much `memory`; token and disk
/// are in `dir`.
pub fn config(seed: u64, (plan, memory): (u8, u64), dir: &Path, disk: &Path) -> Config {
    let token = dir.join("token");
    std::fs::write(&token, "simulated-token-of-the-world\n").expect("the token");
    let origin = |name: &str| {
        format!(
            "[[origin]]\nname = \"{name}\"\n[[origin.server]]\nurl = \"http://127.0.0.1:1\"\n\
                 name = \"{name}\"\n[origin.timeouts]\nconnect = \"1h\"\nfirst_byte = \"1h\"\n\
                 head = \"1h\"\nbetween_bytes = \"1h\"\n[origin.eject]\nfailures = 0\n[origin.retry]\nprobes = 0\n\
                 [origin.pool]\nidle_timeout = \"1h\"\nage_max = \"1d\"\nrest_once_max = \"1h\"\n"
        )
    };
    let site = |name: &str| {
        let plan = Plan::of(plan).toml();
        format!("[[site]]\nhosts = [\"{name}.test\"]\norigin = \"{name}\"\n{plan}")
    };
    let text = format!(
        "[[listen]]\naddr = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n[memory]\n\
             capacity = \"1MiB\"\n[serve]\nfollow_wait = \"1h\"\nstale_wait = \"1h\"\n[admin]\naddr = \"127.0.0.1:0\"\n\
             token_file = {token:?}\nchanges_per_second = 1000000\n[disk]\nsegment = \"128KiB\"\n\
             read_inline_max = \"16MiB\"\n[[disk.directory]]\npath = {disk:?}\n\
             capacity = \"64MiB\"\n{}{}{}{}",
        origin("a"),
        origin("b"),
        site("a"),
        site("b"),
    );
    let outcome = brink::config::parse(&text, "sim.toml", dir);
    let mut config = outcome.into_result().unwrap_or_else(|problems| panic!("{problems}"));
    config.memory.capacity = ByteSize(memory);
    if seed % 4 == 1 {
        config.memory.policy = MemoryPolicy::TinyLfu;
    }
    if seed % 2 == 1 {
        config.disk.admit = AdmitPolicy::All;
    }
    if seed % 8 == 7 {
        config.disk.directories.clear();
    }
    for directory in &mut config.disk.directories {
        directory.capacity = ByteSize(DISK);
    }
    config
}
