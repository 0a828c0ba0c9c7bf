//! The process gives up what it never needs, before it reads a byte from anybody.
//!
//! Two fences of the kernel, as far as it has them: landlock lets files be read anywhere and
//! written only where the configuration says (disk tier, logs, token, sockets), nothing be
//! executed and nobody outside be signalled; seccomp refuses the system calls by which a
//! taken-over process would go on (new programs, tracing, mounts, modules, other users'
//! rights). Both are inherited by every thread and cannot be taken back, so they come first
//! of all.
//!
//! What is refused is a list, not everything but a list: a library that begins to use one
//! harmless call more must not bring a node down. Reading is not fenced, because a reload
//! may name certificates and directories anywhere. `node.confine = false` turns both off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::admin::Address;
use crate::config::Config;
use crate::telemetry::access_log;

/// What the kernel took on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// Writing, executing and signalling are fenced.
    pub files: bool,
    /// System calls are refused.
    pub calls: bool,
}

/// Confines this thread and all it will start to what `config` needs. What the kernel
/// does not know is left out; nothing here keeps a node from starting.
pub fn confine(config: &Config) -> Confined {
    confine_to(&writable(config))
}

/// As [`confine`], for writing below these directories alone.
pub fn confine_to(writable: &[PathBuf]) -> Confined {
    let files = fence_files(writable).unwrap_or_else(|why| {
        tracing::warn!(%why, "landlock refused");
        false
    });
    let calls = fence_calls().map_or_else(
        |why| {
            tracing::warn!(%why, "seccomp refused");
            false
        },
        |()| true,
    );
    Confined { files, calls }
}

/// Every directory something is written in.
fn writable(config: &Config) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        config.disk.directories.iter().map(|directory| directory.path.clone()).collect();
    for directory in &all {
        // A fence needs something to stand on; what is wrong with it the disk tier will say.
        let _ = std::fs::create_dir_all(directory);
    }
    let mut beside = |file: &Path| {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        all.push(parent.unwrap_or(Path::new(".")).to_owned());
    };
    if let access_log::Target::File(file) = &config.log.access.target {
        beside(file);
    }
    if let Some(socket) = &config.node.handover {
        beside(socket);
    }
    if let Some(admin) = &config.admin {
        if let Address::Unix(socket) = &admin.listen {
            beside(socket);
        }
        for file in [&admin.token_file, &admin.audit_file].into_iter().flatten() {
            beside(file);
        }
    }
    all
}

fn fence_files(writable: &[PathBuf]) -> Result<bool, landlock::RulesetError> {
    let abi = ABI::V6;
    let all = AccessFs::from_all(abi);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(["/"], AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(writable, all & !AccessFs::Execute))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn fence_calls() -> Result<(), seccompiler::Error> {
    let architecture: TargetArch =
        std::env::consts::ARCH.try_into().map_err(seccompiler::Error::Backend)?;
    let refused: BTreeMap<i64, Vec<_>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        refused,
        SeccompAction::Allow,
        SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs()),
        architecture,
    );
    let program: BpfProgram =
        filter.and_then(TryInto::try_into).map_err(seccompiler::Error::Backend)?;
    seccompiler::apply_filter(&program)
}

/// Calls that a cache never makes and a taken-over process would.
const REFUSED: [libc::c_long; 49] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_quotactl,
    libc::SYS_personality,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_fsmount,
    libc::SYS_pidfd_getfd,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `work` on a thread of its own, confined to `directory`; the fences end with it.
    fn confined<T: Send>(directory: &Path, work: impl FnOnce(Confined) -> T + Send) -> T {
        let allowed = [directory.to_owned()];
        std::thread::scope(|scope| {
            scope.spawn(move || work(confine_to(&allowed))).join().expect("no panic")
        })
    }

    #[test]
    fn writing_is_for_the_named_directories_and_reading_for_all() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        confined(own.path(), |confined| {
            if !confined.files {
                // A kernel without landlock: nothing to see.
                return;
            }
            std::fs::write(own.path().join("a"), "x").expect("its own directory");
            std::fs::rename(own.path().join("a"), own.path().join("b")).expect("a rename in it");
            std::fs::create_dir(own.path().join("c")).expect("a directory in it");
            let denied = std::fs::write(other.path().join("a"), "x").unwrap_err();
            assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied);
            std::fs::read("/proc/self/status").expect("reading is free");
        });
        std::fs::write(other.path().join("a"), "x").expect("this thread is not confined");
    }

    #[test]
    fn nothing_is_executed() {
        let own = tempfile::tempdir().unwrap();
        let outcome = confined(own.path(), |confined| {
            let run = std::process::Command::new("/bin/true").status();
            (confined, run.map_err(|error| error.kind()))
        });
        let (confined, run) = outcome;
        if confined.calls || confined.files {
            assert_eq!(run.unwrap_err(), std::io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn refused_calls_are_refused_and_the_rest_goes_on() {
        let own = tempfile::tempdir().unwrap();
        confined(own.path(), |confined| {
            if confined.calls {
                let refused = rustix::process::chroot("/").unwrap_err();
                assert_eq!(refused, Errno::PERM);
                assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
                assert!(std::thread::spawn(|| 1).join().is_ok());
            }
        });
    }
}
