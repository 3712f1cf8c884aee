//! dev and prod of the shop, and the moments of a release in them.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use cim_e2e::{
    home::{Home, Object},
    lab::servers::host::Host,
    story::{People, Person, complete},
};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    DEADLINE, Try,
    journal::{changes, never_together},
};

const PAUSE: Duration = Duration::from_millis(10);
static RELEASES: AtomicU32 = AtomicU32::new(100);

/// A machine of the shop: its place among the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Dev1,
    Prod1,
    Prod2,
}

pub(super) use Machine::{Dev1, Prod1, Prod2};

impl Machine {
    pub(super) const ALL: [Self; 3] = [Dev1, Prod1, Prod2];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Dev1 => "dev1",
            Prod1 => "prod1",
            Prod2 => "prod2",
        }
    }

    pub(super) const fn cluster(self) -> &'static str {
        match self {
            Dev1 => "dev",
            Prod1 | Prod2 => "prod",
        }
    }
}

/// A moment within a release, right after an effect.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// The flake was evaluated.
    Evaluated,
    /// The closure of dev1 is in the controller's store.
    Built,
    /// The Cluster's status holds the release.
    Written(&'static str),
    /// The rollout lets the machine begin.
    Admitted(Machine),
    /// The closure is in the machine's store.
    Copied(Machine),
    /// The closure runs and is not confirmed.
    Tested(Machine),
    /// The closure is what the machine boots.
    Confirmed(Machine),
    /// The first wave of prod has the release, and the next one has not begun.
    BetweenWaves,
    /// The rollout in prod was aborted.
    Aborted,
    /// The rollout tells the machine to go back.
    Revoked(Machine),
    /// The machine runs what it ran before, unconfirmed.
    GoingBack(Machine),
}

/// How many changes each machine had, and how many closures the controller's store held.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    changes: [usize; 3],
    closures: usize,
    log: usize,
}

pub(super) struct Shop<'h> {
    pub(super) home: &'h Home,
    pub(super) jane: Person,
}

impl<'h> Shop<'h> {
    /// With both Clusters complete and the same commit in both.
    pub(super) async fn open(home: &'h Home) -> Try<Self> {
        let jane = People::invite(home).await?.jane;
        let shop = Self { home, jane };
        let head = home.repository().head()?;
        complete(home, "dev", &head).await?;
        if home.object("clusters", "prod").await?.status()["release"]["rev"] != head {
            shop.approve().await?;
        }
        complete(home, "prod", &head).await?;
        Ok(shop)
    }

    pub(super) fn host(&self, machine: Machine) -> &Host {
        &self.home.hosts()[machine as usize]
    }

    pub(super) async fn cluster(&self, name: &str) -> Try<Object> {
        Ok(self.home.object("clusters", name).await?)
    }

    pub(super) async fn machine(&self, machine: Machine) -> Try<Object> {
        Ok(self.home.object("machines", machine.name()).await?)
    }

    /// Publishes a message that no release had before, and other files; the revision.
    pub(super) async fn commit(&self, files: &[(&str, &str)]) -> Try<String> {
        let number = RELEASES.fetch_add(1, Ordering::Relaxed);
        let message = format!("accounting {number}\n");
        let files = [&[("message", message.as_str())], files].concat();
        Ok(self.home.repository().commit(&format!("Accounting {number}"), &files).await?)
    }

    /// Publishes a message, and waits until dev is complete with it; the revision.
    pub(super) async fn release(&self, files: &[(&str, &str)]) -> Try<String> {
        let revision = self.commit(files).await?;
        complete(self.home, "dev", &revision).await?;
        Ok(revision)
    }

    /// jane approves for prod what dev runs.
    pub(super) async fn approve(&self) -> Try<()> {
        self.jane.cimctl(self.home, &["approve", "dev", "--for", "prod", "--yes"]).await?;
        Ok(())
    }

    /// Changes an object as its owner does.
    pub(super) async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Try<()> {
        let (kind, patch) = (format!("{kind}.cim.dev"), patch.to_string());
        let namespace = self.home.estate().namespace;
        let words = ["patch", &kind, name, "--namespace", namespace, "--type=merge", "-p", &patch];
        self.home.kubectl().run(&words).await?;
        Ok(())
    }

    /// The closure that the present release of its Cluster holds for a machine.
    pub(super) async fn wanted(&self, machine: Machine) -> Try<String> {
        let cluster = self.cluster(machine.cluster()).await?;
        closure(&cluster, machine).ok_or_else(|| format!("no closure for {machine:?}").into())
    }

    pub(super) async fn running(&self, machine: Machine) -> Try<String> {
        let running = self.host(machine).current_system().await?;
        running.ok_or_else(|| format!("{machine:?} runs nothing").into())
    }

    /// Waits until a probe holds.
    pub(super) async fn until(
        &self,
        what: &str,
        mut holds: impl AsyncFnMut() -> Try<Result<(), String>>,
    ) -> Try<()> {
        let probe = async || match holds().await {
            Ok(held) => held,
            Err(error) => Err(error.to_string()),
        };
        Ok(self.home.eventually(what, DEADLINE, probe).await?)
    }

    /// Where everything stands before something happens.
    pub(super) async fn mark(&self) -> Try<Mark> {
        let mut counts = [0; 3];
        for machine in Machine::ALL {
            counts[machine as usize] = changes(self.host(machine)).await?.len();
        }
        let log = fs::read(self.home.controller().log())?.len();
        Ok(Mark { changes: counts, closures: self.closures().await?, log })
    }

    async fn closures(&self) -> Try<usize> {
        let count = "ls -d /nix/store/*-nixos-system-dev1 | wc -l";
        Ok(self.home.controller().exec(count).await?.trim().parse()?)
    }

    /// Fails unless exactly these closures were activated since, in this order; and never two
    /// machines of prod at a time.
    pub(super) async fn activated(&self, mark: &Mark, wanted: [&[String]; 3]) -> Try<()> {
        let mut since = Vec::new();
        for machine in Machine::ALL {
            let all = changes(self.host(machine)).await?;
            since.push(all[mark.changes[machine as usize]..].to_vec());
        }
        for machine in Machine::ALL {
            let found: Vec<_> = since[machine as usize].iter().map(|it| &it.closure).collect();
            let wanted: Vec<_> = wanted[machine as usize].iter().collect();
            if found != wanted {
                return Err(format!("{machine:?} activated {found:#?}, not {wanted:#?}").into());
            }
            self.boots_before(machine).await?;
        }
        never_together(&since[1], &since[2])
    }

    /// Fails unless the generation before could still be booted.
    async fn boots_before(&self, machine: Machine) -> Try<()> {
        let script = "cd /nix/var/nix/profiles
            n=$(readlink system); n=${n#system-}; n=${n%-link}
            [ $n -eq 1 ] || test -x $(readlink -e system-$((n - 1))-link)/bin/switch-to-configuration";
        let output = self.host(machine).try_exec(script).await?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("the generation before of {machine:?} is gone").into())
    }

    /// The newest `count` closures that a machine was told to boot, the newest last.
    pub(super) async fn generations(&self, machine: Machine, count: usize) -> Try<Vec<String>> {
        let script = format!(
            "cd /nix/var/nix/profiles
            ls -d system-*-link | sort -t- -k2n | tail -n {count} | xargs -n1 readlink -e"
        );
        Ok(self.host(machine).exec(&script).await?.lines().map(str::to_owned).collect())
    }

    /// Waits for a moment of the release `revision`.
    pub(super) async fn come(&self, mark: &Mark, moment: Moment, revision: &str) -> Try<()> {
        let begun = Instant::now();
        while !self.has_come(mark, moment, revision).await? {
            if begun.elapsed() > DEADLINE {
                let never = async || Err(format!("{moment:?} never came"));
                let what = format!("{moment:?} of {revision}");
                return Ok(self.home.eventually(&what, Duration::ZERO, never).await?);
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits for a moment of the release `revision`, then kills the controller and starts it again.
    pub(super) async fn killed(&self, mark: &Mark, moment: Moment, revision: &str) -> Try<()> {
        self.come(mark, moment, revision).await?;
        self.home.controller().kill().await?;
        if let Moment::Tested(machine) = moment {
            self.boots_what_was_confirmed(machine).await?;
        }
        self.home.start_controller().await?;
        Ok(())
    }

    /// Fails if a loss of power would not lead back from what nobody has confirmed.
    async fn boots_what_was_confirmed(&self, machine: Machine) -> Try<()> {
        let script = "boots=$(readlink -e /nix/var/nix/profiles/system || true)
            unit=$(systemctl show --property=Description --value cim-switch.service)
            case $unit in 'cim-activate test '*) echo \"$boots\" ;; esac";
        let boots = self.host(machine).exec(script).await?;
        if boots.trim() == self.running(machine).await? {
            return Err(format!("{machine:?} would boot {boots}, which nobody confirmed").into());
        }
        Ok(())
    }

    async fn has_come(&self, mark: &Mark, moment: Moment, revision: &str) -> Try<bool> {
        let on = async |machine: Machine, test: &str| -> Try<bool> {
            let cluster = self.cluster(machine.cluster()).await?;
            if cluster.status()["release"]["rev"] != revision {
                return Ok(false);
            }
            let Some(closure) = closure(&cluster, machine) else { return Ok(false) };
            // Looked at where it happens, since asking the API server takes longer than it lasts.
            let script = format!(
                "closure={closure}; for i in $(seq 50); do {test} && exit; sleep 0.02; done; exit 1"
            );
            Ok(self.host(machine).try_exec(&script).await?.status.success())
        };
        let rollout = async |cluster: &str, holds: &dyn Fn(&Value) -> bool| -> Try<bool> {
            let cluster = self.cluster(cluster).await?;
            let (release, rollout) = (&cluster.status()["release"], &cluster.status()["rollout"]);
            let same = release["rev"] == revision && release["digest"] == rollout["release"];
            Ok(same && holds(rollout))
        };
        let names = |list: &Value, machine: Machine| {
            list.as_array().is_some_and(|list| list.iter().any(|it| it == machine.name()))
        };
        match moment {
            Moment::Evaluated => {
                let log = fs::read(self.home.controller().log())?;
                let log = String::from_utf8_lossy(log.get(mark.log..).unwrap_or_default());
                let evaluated = |line: &str| line.contains("evaluated") && line.contains(revision);
                Ok(log.lines().any(evaluated))
            }
            Moment::Built => Ok(self.closures().await? > mark.closures),
            Moment::Written(cluster) => {
                Ok(self.cluster(cluster).await?.status()["release"]["rev"] == revision)
            }
            Moment::Admitted(machine) => {
                rollout(machine.cluster(), &|it| names(&it["admitted"], machine)).await
            }
            Moment::Copied(machine) => on(machine, "[ -e $closure ]").await,
            Moment::Tested(machine) => {
                let runs = "[ $(readlink -e /run/current-system) = $closure ]";
                on(machine, runs).await
            }
            Moment::Confirmed(machine) => {
                let boots = "[ $(readlink -e /nix/var/nix/profiles/system) = $closure ]";
                on(machine, boots).await
            }
            Moment::BetweenWaves => {
                rollout("prod", &|it| it["phase"] == "Soaking" || it["wave"] == 1).await
            }
            Moment::Aborted => rollout("prod", &|it| it["aborted"] == true).await,
            Moment::Revoked(machine) => rollout("prod", &|it| names(&it["revoked"], machine)).await,
            Moment::GoingBack(machine) => {
                let left = "[ $(readlink -e /run/current-system) != $closure ]";
                on(machine, left).await
            }
        }
    }
}

fn closure(cluster: &Object, machine: Machine) -> Option<String> {
    let machines = cluster.status()["release"]["machines"].as_array()?;
    let entry = machines.iter().find(|entry| entry["name"] == machine.name())?;
    entry["outPath"].as_str().map(str::to_owned)
}
