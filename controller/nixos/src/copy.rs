//! Bringing closures to machines. The machine checks signatures; we never ask it not to.
//!
//! ```text
//! closure    which paths belong to it
//! archives   each compressed once, for all machines
//! portion    what a machine lacks, as a tar
//! ```

mod archives;
mod closure;
mod portion;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) use self::archives::Copies;
use self::closure::Member;
use self::portion::Portion;
use crate::error::Error;
use crate::helper::{ACT_AND_LOOK, Request};
use crate::nix::Nix;
use crate::process::{Output, Pipes, strip_ansi};
use crate::progress::{Bytes, Count, Progress, ProgressSink, Reader};
use crate::sign::Signer;
use crate::ssh::{Host, Script};
use crate::store_path::StorePath;

const RECEIVE: &str = include_str!("copy/receive.sh");
const LACKS: &str = "=cim= lacks ";
const ROOM: &str = "=cim= room ";
const ASKED: &str = "=cim= asked";
const COPIED: &str = "=cim= copied";
/// Between receiving and acting.
const GO: &str = "read -r go && [ \"$go\" = go ] || exit\n";
/// Uncompressed bytes of one portion: what a lost connection costs at most, and what the machine needs
/// beside its store for a moment.
const PORTION: u64 = 256 << 20;
/// Longest line of an answer: a name and what is before it.
const MAX_LINE: u64 = 512;
/// Far above what any closure has.
const MAX_LACKING: usize = 1 << 20;

/// A closure for a machine.
#[derive(Clone, Copy)]
pub(crate) struct Parcel<'a> {
    pub(crate) host: &'a Host,
    pub(crate) signer: &'a Signer,
    pub(crate) closure: &'a StorePath,
    pub(crate) progress: Option<&'a ProgressSink>,
}

/// How the machine finds out what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By looking. A path that is there is valid, unless an import was interrupted.
    Seen,
    /// By asking its Nix, which takes some time.
    Valid,
}

impl Nix {
    /// Copies `closure` and all that it refers to, as far as the machine lacks it. Signs it before.
    ///
    /// # Errors
    /// [`Error::UnsignedRefused`] when the machine trusts none of the signatures,
    /// [`Error::DiskFull`], those of SSH, [`Error::CommandFailed`], and those of the local tools.
    pub async fn copy(
        &self,
        host: &Host,
        signer: &Signer,
        closure: &StorePath,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        self.bring(Parcel { host, signer, closure, progress }, None).await.map(drop)
    }

    /// As [`Nix::copy`], and has the machine do something with it in the same round trip, of which the
    /// output is.
    pub(crate) async fn bring(
        &self,
        parcel: Parcel<'_>,
        then: Option<Request<'_>>,
    ) -> Result<Output, Error> {
        let Parcel { signer, closure, .. } = parcel;
        self.sign_once(signer, closure).await?;
        let members = self.members(closure).await?;
        let attempt = |mode| self.bring_what_lacks(parcel, &members, then, mode);
        let mut brought = attempt(Mode::Seen).await;
        // There was a path that Nix does not know.
        if matches!(&brought, Err(Error::CommandFailed { stderr, .. }) if stderr.contains("is not valid"))
        {
            brought = attempt(Mode::Valid).await;
        }
        if let Err(Error::UnsignedRefused { .. }) = &brought {
            signer.forget(closure);
        }
        brought
    }

    async fn bring_what_lacks(
        &self,
        parcel: Parcel<'_>,
        members: &[Arc<Member>],
        then: Option<Request<'_>>,
        mode: Mode,
    ) -> Result<Output, Error> {
        let Parcel { host, closure, .. } = parcel;
        let names: String = members.iter().map(|it| base(&it.path).to_owned() + "\n").collect();
        let length = names.len().to_string();
        let mode = if mode == Mode::Seen { "seen" } else { "valid" };
        let mut args = vec![mode, closure.as_str(), &length];
        let (mut text, mut deadline) = (RECEIVE.to_owned(), self.limits().copy);
        if let Some(request) = &then {
            text.push_str(GO);
            text.push_str(ACT_AND_LOOK);
            args.extend(request.args());
            deadline += request.deadline;
        }
        let command = format!("copying {closure}");
        let script = Script { what: &command, text: &text, args: &args };
        let copied = AtomicBool::new(false);
        let talk = |pipes| self.talk(parcel, members, &names, pipes, &copied);
        let output = host.converse(script, deadline, talk).await?;
        if copied.into_inner() {
            return Ok(output);
        }
        Err(failure(host, &command, "", &output, false))
    }

    /// Tells the machine what belongs to the closure, hears what it lacks, and sends that. A machine
    /// that hangs up tells why by its exit status and its messages.
    async fn talk(
        &self,
        parcel: Parcel<'_>,
        members: &[Arc<Member>],
        names: &str,
        mut pipes: Pipes,
        copied: &AtomicBool,
    ) -> Result<Pipes, Error> {
        if pipes.input.write_all(names.as_bytes()).await.is_err() {
            return Ok(pipes);
        }
        let Some(answer) = hear(&mut pipes).await else { return Ok(pipes) };
        let lacking: Vec<_> =
            members.iter().filter(|it| answer.lacks.contains(base(&it.path))).cloned().collect();
        let needed = lacking.iter().map(|it| it.nar_size).sum();
        has_room(parcel, "/nix/store", answer.room_in_store, needed)?;
        let count = Count { expected: lacking.len() as u64, ..Count::default() };
        tell(parcel.progress, |it| {
            it.copies = count;
            it.bytes = Bytes { done: 0, expected: needed };
        });
        for portion in portions(lacking) {
            let archives = self.archives(parcel.signer, &portion).await?;
            let size = archives.iter().map(|it| it.size).sum();
            has_room(parcel, "/var/tmp", answer.room_beside, size)?;
            let portion = Portion::of(archives);
            let head = format!("{}\n", portion.length());
            let sent = |bytes| tell(parcel.progress, |it| it.bytes.done += bytes);
            let sending = async {
                pipes.input.write_all(head.as_bytes()).await?;
                portion.write(&mut pipes.input, sent).await
            };
            match sending.await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(pipes),
                Err(error) => {
                    let what = format!("sending {} to {}", parcel.closure, parcel.host.name());
                    return Err(Error::BadOutput { what, why: error.to_string() });
                }
            }
            tell(parcel.progress, |it| it.copies.done += portion.paths());
        }
        if pipes.input.write_all(b"0\n").await.is_ok() && is_told(&mut pipes, COPIED).await {
            copied.store(true, Ordering::Relaxed);
            // Should it hang up now, its end tells.
            let _ = pipes.input.write_all(b"go\n").await;
        }
        Ok(pipes)
    }

    /// Copies `path` and all that it refers to into the store of the machine that `to` names, path by
    /// path and as it is: for a machine that has no system yet, and is copied to once.
    pub(crate) async fn copy_to(
        &self,
        host: &Host,
        to: &str,
        path: &StorePath,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        let args = ["copy", "--log-format", "internal-json", "--to", to, "--", path.as_str()];
        self.towards(host, args, &format!("copying {path}"), progress).await
    }

    /// Gives the machine our signature of a path that it already has: a copy would not.
    ///
    /// # Errors
    /// As [`Nix::copy`].
    pub async fn copy_signatures(&self, host: &Host, path: &StorePath) -> Result<(), Error> {
        let args = [
            "store",
            "copy-sigs",
            "--log-format",
            "internal-json",
            "--store",
            Host::STORE_URL,
            "--substituter",
            "auto",
            "--",
            path.as_str(),
        ];
        self.towards(host, args, &format!("copying signatures of {path}"), None).await
    }

    async fn towards<const N: usize>(
        &self,
        host: &Host,
        args: [&str; N],
        command: &str,
        progress: Option<&ProgressSink>,
    ) -> Result<(), Error> {
        let mut run = self.nix(args, self.limits().copy, format!("{command} to {}", host.name()));
        run.env.push(("NIX_SSHOPTS".into(), host.nix_ssh_options()));
        let mut reader = Reader::new(progress);
        match run.run_watched(&mut |line| reader.line(line)).await {
            Ok(output) if output.success() => {
                reader.succeeded();
                Ok(())
            }
            Ok(output) => Err(failure(host, command, &reader.finish().0, &output, true)),
            Err(Error::Timeout { after, .. }) => Err(Error::HostTimeout {
                host: host.name().to_owned(),
                command: command.to_owned(),
                after,
            }),
            Err(other) => Err(other),
        }
    }
}

/// What a machine answers before anything is sent.
struct Answer {
    /// Names of paths.
    lacks: HashSet<String>,
    /// Free bytes of the disk of its store.
    room_in_store: u64,
    /// Free bytes of the disk where a portion waits to be imported.
    room_beside: u64,
}

async fn hear(pipes: &mut Pipes) -> Option<Answer> {
    let (mut lacks, mut room) = (HashSet::new(), Vec::new());
    while lacks.len() < MAX_LACKING {
        let line = line(pipes).await?;
        if line == ASKED {
            let &[room_in_store, room_beside] = room.as_slice() else { return None };
            return Some(Answer { lacks, room_in_store, room_beside });
        } else if let Some(name) = line.strip_prefix(LACKS) {
            lacks.insert(name.to_owned());
        } else if let Some(free) = line.strip_prefix(ROOM) {
            let (blocks, size) = free.split_once(' ')?;
            room.push(blocks.parse::<u64>().ok()?.checked_mul(size.parse().ok()?)?);
        }
    }
    None
}

/// Whether this line comes, after others.
async fn is_told(pipes: &mut Pipes, wanted: &str) -> bool {
    while let Some(line) = line(pipes).await {
        if line == wanted {
            return true;
        }
    }
    false
}

/// The next line, or a part of it if it is too long; `None` at the end.
async fn line(pipes: &mut Pipes) -> Option<String> {
    let mut line = Vec::new();
    let read = (&mut pipes.output).take(MAX_LINE).read_until(b'\n', &mut line).await.ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A disk that will not do is told before it is full, which would harm what runs there.
fn has_room(parcel: Parcel<'_>, place: &str, free: u64, needed: u64) -> Result<(), Error> {
    if needed <= free {
        return Ok(());
    }
    Err(Error::DiskFull {
        host: parcel.host.name().to_owned(),
        what: format!("copying {}", parcel.closure),
        stderr: format!("{needed} bytes are needed in {place}, {free} are free"),
    })
}

fn portions(members: Vec<Arc<Member>>) -> Vec<Vec<Arc<Member>>> {
    let mut portions = Vec::new();
    let mut size = 0;
    for member in members {
        let nar_size = member.nar_size;
        match portions.last_mut() {
            Some(portion) if size + nar_size <= PORTION => Vec::push(portion, member),
            _ => {
                portions.push(vec![member]);
                size = 0;
            }
        }
        size += nar_size;
    }
    portions
}

fn tell(progress: Option<&ProgressSink>, change: impl FnOnce(&mut Progress)) {
    if let Some(sink) = progress {
        sink.send_modify(change);
    }
}

/// The name of a path in the store.
fn base(path: &StorePath) -> &str {
    path.as_str().rsplit('/').next().unwrap_or_default()
}

/// What kept a copy from being made. `errors` are messages of a Nix that tells them apart; see
/// [`Host::failure`] for `tool_of_ours`.
fn failure(host: &Host, command: &str, errors: &str, output: &Output, tool_of_ours: bool) -> Error {
    // Nix's messages and those of the ssh that it ran come separately; both may tell the cause.
    let stderr = strip_ansi([errors, output.stderr.as_str()].join("\n").trim());
    if let Some(path) = unsigned_path(&stderr) {
        return Error::UnsignedRefused { host: host.name().to_owned(), path };
    }
    if stderr.to_lowercase().contains("no space left on device") {
        return Error::DiskFull { host: host.name().to_owned(), what: command.to_owned(), stderr };
    }
    host.failure(
        command,
        &Output { code: output.code, stdout: String::new(), stderr },
        tool_of_ours,
    )
}

/// The path that the machine's Nix refused, by its message of 2.18 to 2.34.
fn unsigned_path(errors: &str) -> Option<String> {
    let refused =
        ["lacks a signature by a trusted key", "lacks a valid signature", "lacks a signature"];
    let line = errors.lines().find(|line| refused.iter().any(|text| line.contains(text)))?;
    let quoted = line.split('\'').find(|part| part.starts_with("/nix/store/"));
    Some(quoted.unwrap_or("a path of the closure").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_path_is_named() {
        let errors = "error: cannot add path '/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-x' \
                      because it lacks a signature by a trusted key";
        let path = unsigned_path(errors).unwrap();
        assert_eq!(path, "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-x");
        assert_eq!(unsigned_path("error: no space left on device"), None);
    }
}
