//! Does the steps of a plan, one by one, and reads back after each.

use tokio::time::{Duration, Instant, sleep};

use super::{
    ExtraFile, InstallProgress, InstallSink, Installation, Installed, Installer, Phase, Report,
    Seen, Step, files, job, kexec, observe, plan,
};
use crate::error::Error;
use crate::facts::{Disk, Facts};
use crate::nix::Nix;
use crate::observe::{Observed, observe as observe_delivered};
use crate::ssh::{Host, Script};
use crate::store_path::StorePath;

const GUARD: &str = include_str!("guard.sh");
/// For the login user's Nix alone, and gone with the installer.
const TRUST: &str = "\
umask 022
dir=$HOME/.config/nix
line=\"extra-trusted-public-keys = $1\"
mkdir -p \"$dir\" && touch \"$dir/nix.conf\" || exit 74
grep -qxF \"$line\" \"$dir/nix.conf\" || echo \"$line\" >>\"$dir/nix.conf\"
";
const KEEP_HOST_KEYS: &str = "\
mkdir -p -m 755 /mnt/etc/ssh || exit 74
for key in /etc/ssh/ssh_host_*; do
    [ ! -e \"$key\" ] || [ -e \"/mnt$key\" ] || cp -pL \"$key\" \"/mnt$key\" || exit 74
done
";
/// Pools that were not exported would want force at the next boot. The pause lets our connection
/// end well.
const REBOOT: &str = "\
read -r boot_id </proc/sys/kernel/random/boot_id
[ \"$boot_id\" = \"$1\" ] || exit 0
if command -v zpool >/dev/null && [ \"$(zpool list 2>&1)\" != 'no pools available' ]; then
    umount -R /mnt && zpool export -a || :
fi
sync
setsid /bin/sh -c 'sleep 2; exec reboot' >/dev/null 2>&1 </dev/null &
";
/// The store of the installer, and that of the new system; in neither does a daemon stand between.
const INSTALLER_STORE: &str = "ssh-ng://machine?remote-store=local";
const NEW_STORE: &str = "ssh-ng://machine?remote-store=local%3Froot=%2Fmnt";
/// One that is awaited, each phase, and one that shows that nothing is left.
const PASSES: usize = 7;
const PAUSE: Duration = Duration::from_secs(1);

/// Brings the machine to the phase asked for: looks, plans, does the first step, looks again, until
/// nothing is left.
///
/// May be dropped at any time and called again, also by another process: what runs on the machine
/// goes on, and is awaited then. A disk layout or an installation that failed on the machine is told,
/// and not run again before [`super::forget`]: whoever began it may not have seen its end.
///
/// # Errors
/// [`Error::InstallRefused`] before anything is changed; [`Error::InstallFailed`] when a phase
/// failed or outlasted its deadline, now or before; those of SSH and copying. None takes back what was
/// done: calling again goes on there.
pub async fn install(installer: Installer<'_>, wanted: &Installation) -> Result<Installed, Error> {
    let Installer { nix, bare, deploy, .. } = installer;
    let system = nix.system_of(&wanted.toplevel).await?;
    let mut done: Vec<Report> = Vec::new();
    let mut facts = None;
    for _ in 0..PASSES {
        let seen = observe(bare, deploy, Some(&wanted.toplevel), nix.limits()).await?;
        facts = facts_of(&seen).or(facts);
        let planned = plan(wanted, &system, &seen)
            .map_err(|why| Error::InstallRefused { host: bare.name().to_owned(), why })?;
        let Some((step, left)) = planned.changes.split_first() else {
            return Ok(Installed { seen, facts, done });
        };
        if let Some(again) = done.last().filter(|report| report.step == *step) {
            let why = "it ended well, and the machine does not show it".to_owned();
            let (host, phase) = (bare.name().to_owned(), step.phase());
            return Err(Error::InstallFailed { host, phase, why, log: again.log.clone() });
        }
        if let Seen::Installer { state, .. } = &seen
            && let Some(status) = state.failure(step)
        {
            // Nobody may have been there to see it.
            let phase = step.phase();
            let why = job::exit(status, phase, &installer.deadlines);
            return Err(job::failed(installer, phase, why).await);
        }
        let watch = Watch { sink: installer.progress };
        watch.begin(step, left);
        tracing::info!(host = bare.name(), %step, "install");
        let began = Instant::now();
        make(installer, wanted, step, &seen, &watch).await?;
        let log = match step {
            Step::Disko { .. } | Step::Install { .. } => job::log(installer, step.phase()).await,
            _ => String::new(),
        };
        done.push(Report { step: step.clone(), took: began.elapsed(), log });
    }
    let why = "somebody else changes the machine at the same time".to_owned();
    let phase = done.last().map_or(Phase::Reboot, |report| report.step.phase());
    Err(Error::InstallFailed { host: bare.name().to_owned(), phase, why, log: String::new() })
}

async fn make(
    installer: Installer<'_>,
    wanted: &Installation,
    step: &Step,
    seen: &Seen,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    match step {
        Step::Await { phase: Phase::Kexec } => {
            let boot_id = facts_of(seen).and_then(|facts| facts.boot_id).unwrap_or_default();
            kexec::arrive(installer, &boot_id, watch).await
        }
        Step::Await { phase } => match job::wait(installer, *phase, watch).await {
            // Another's failure is no reason not to do ours.
            Err(Error::InstallFailed { why, .. }) if !is_at(seen, wanted) => {
                tracing::warn!(host = installer.bare.name(), %phase, why, "awaited");
                Ok(())
            }
            other => other,
        },
        Step::Kexec { boot_id } => match &wanted.kexec {
            Some(image) => kexec::boot(installer, image, boot_id, watch).await,
            None => Ok(()),
        },
        Step::Disko { script, disks } => {
            lay_out(installer, script, disks, &wanted.disk_keys, watch).await
        }
        Step::Install { toplevel } => fill(installer, toplevel, wanted, watch).await,
        Step::Reboot { boot_id } => reboot(installer, boot_id, &wanted.toplevel).await,
    }
}

async fn lay_out(
    installer: Installer<'_>,
    script: &StorePath,
    disks: &[Disk],
    keys: &[ExtraFile],
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let Installer { nix, bare, .. } = installer;
    bring(installer, script, INSTALLER_STORE, watch).await?;
    files::write(bare, "", keys, nix.limits()).await?;
    let args: Vec<&str> =
        [script.as_str()].into_iter().chain(disks.iter().map(|disk| disk.path.as_str())).collect();
    let what = "comparing the disk layout with the consent";
    let guard = Script { what, text: GUARD, args: &args };
    let compared = bare.run_any(guard, nix.limits().command).await?;
    if !compared.success() {
        let (host, why) = (bare.name().to_owned(), compared.stderr);
        return Err(Error::InstallFailed { host, phase: Phase::Disko, why, log: String::new() });
    }
    job::start(installer, Phase::Disko, script.as_str(), &[script.as_str()]).await?;
    job::wait(installer, Phase::Disko, watch).await
}

async fn fill(
    installer: Installer<'_>,
    toplevel: &StorePath,
    wanted: &Installation,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let Installer { nix, bare, .. } = installer;
    bring(installer, toplevel, NEW_STORE, watch).await?;
    watch.latest("writing files");
    files::write(bare, "/mnt", &wanted.files, nix.limits()).await?;
    if wanted.keep_host_keys {
        let script = Script { what: "keeping its host keys", text: KEEP_HOST_KEYS, args: &[] };
        bare.run(script, nix.limits().command).await?;
    }
    let program = ["nixos-install", "--no-root-passwd", "--no-channel-copy", "--system"];
    let program: Vec<&str> = program.into_iter().chain([toplevel.as_str()]).collect();
    job::start(installer, Phase::Install, toplevel.as_str(), &program).await?;
    job::wait(installer, Phase::Install, watch).await
}

/// Signs `path` and copies it to a store of the machine, which is to trust our key alone.
async fn bring(
    installer: Installer<'_>,
    path: &StorePath,
    store: &str,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let Installer { nix, signer, bare, copies, .. } = installer;
    watch.latest(&format!("copying {path}"));
    let key = signer.public().to_string();
    let trust = Script { what: "trusting our key", text: TRUST, args: &[&key] };
    bare.run(trust, nix.limits().command).await?;
    nix.sign(signer, path).await?;
    nix.copy_to(bare, store, path, copies).await
}

/// Boots the new system, and waits until the deploy user sees it run.
async fn reboot(
    installer: Installer<'_>,
    boot_id: &str,
    toplevel: &StorePath,
) -> Result<(), Error> {
    let Installer { nix, bare, deploy, deadlines, .. } = installer;
    let script = Script { what: "rebooting", text: REBOOT, args: &[boot_id] };
    match bare.run(script, nix.limits().command).await {
        // It may be gone before its answer is here.
        Ok(_) | Err(Error::Unreachable { .. } | Error::HostTimeout { .. }) => {}
        Err(error) => return Err(error),
    }
    bare.disconnect(nix.limits().command).await;
    let deadline = Instant::now() + deadlines.reboot;
    loop {
        let last = match arrived(deploy, boot_id, toplevel, installer).await {
            Ok(()) => return Ok(()),
            // The installer, until it is gone, knows neither the deploy user nor the new host key.
            Err(last) => last,
        };
        if Instant::now() + PAUSE >= deadline {
            let why =
                format!("the new system does not answer after {:?}: {last}", deadlines.reboot);
            let host = bare.name().to_owned();
            return Err(Error::InstallFailed {
                host,
                phase: Phase::Reboot,
                why,
                log: String::new(),
            });
        }
        sleep(PAUSE).await;
    }
}

async fn arrived(
    deploy: &Host,
    boot_id: &str,
    toplevel: &StorePath,
    installer: Installer<'_>,
) -> Result<(), String> {
    let limits = installer.nix.limits();
    match observe_delivered(deploy, limits, None).await {
        Observed::Reached(state) if state.boot_id == boot_id => {
            // The connection must not be taken for one to the next boot.
            deploy.disconnect(limits.command).await;
            Err(format!("it still is in boot {boot_id}"))
        }
        Observed::Reached(state) if state.current.is(toplevel) && state.profile.is(toplevel) => {
            Ok(())
        }
        Observed::Reached(state) => Err(format!("it runs {:?}", state.current)),
        Observed::Unreachable { message, .. } => Err(message),
    }
}

fn is_at(seen: &Seen, wanted: &Installation) -> bool {
    matches!(seen, Seen::Installer { state, .. } if state.is_at(wanted))
}

fn facts_of(seen: &Seen) -> Option<Facts> {
    match seen {
        Seen::Foreign { facts, .. } | Seen::Installer { facts, .. } => Some((**facts).clone()),
        Seen::Installed { .. } | Seen::Delivered { .. } => None,
    }
}

/// Whoever watches an installation.
pub(super) struct Watch<'a> {
    sink: Option<&'a InstallSink>,
}

impl Watch<'_> {
    fn begin(&self, step: &Step, left: &[Step]) {
        if let Some(sink) = self.sink {
            let (step, left) = (Some(step.clone()), left.to_vec());
            sink.send_replace(InstallProgress { step, left, latest: None });
        }
    }

    pub(super) fn latest(&self, line: &str) {
        let line: String = line.chars().take(256).collect();
        if let Some(sink) = self.sink {
            sink.send_if_modified(|progress| {
                let news = progress.latest.as_deref() != Some(&line);
                progress.latest = Some(line);
                news
            });
        }
    }
}

impl Nix {
    /// What a closure is for, as Nix names it; it is in the local store.
    ///
    /// # Errors
    /// [`Error::ToolFailed`], when it is not, or is no closure.
    pub async fn system_of(&self, toplevel: &StorePath) -> Result<String, Error> {
        let file = format!("{toplevel}/system");
        let what = format!("reading {file}");
        let output = self
            .nix(["store", "cat", file.as_str()], self.limits().store, what.clone())
            .run()
            .await?;
        if !output.success() {
            return Err(Error::ToolFailed { what, code: output.code, stderr: output.stderr });
        }
        Ok(output.stdout.trim().to_owned())
    }
}
