//! What is said on the command line and in the environment; nothing else reads either.

use std::{env, ffi::OsString, path::PathBuf, str::FromStr, time::Duration};

use cim_crds::Duration as CimDuration;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::target::{One, Target};

/// Under which name the program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// As `cimctl`.
    Cimctl,
    /// As `kubectl cim`, through the file `kubectl-cim`.
    KubectlPlugin,
}

impl Program {
    /// The name of the file.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Cimctl => "cimctl",
            Self::KubectlPlugin => "kubectl-cim",
        }
    }

    /// How people call it.
    pub(crate) fn call(self) -> &'static str {
        match self {
            Self::Cimctl => "cimctl",
            Self::KubectlPlugin => "kubectl cim",
        }
    }

    /// The command line that it understands.
    pub(crate) fn command(self) -> clap::Command {
        Cli::command().name(self.file()).bin_name(self.call()).display_name(self.call())
    }

    /// Reads a command line, of which the first word is the program's own name. Its "error" may be
    /// the help that somebody asked for.
    pub(crate) fn parse(
        self,
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Cli, clap::Error> {
        let matches = self.command().try_get_matches_from(words)?;
        Cli::from_arg_matches(&matches)
    }
}

/// See a private domain as its controller sees it: the hierarchy of names, what they resolve to, what
/// has drifted, what would be done about it; and take releases from one Cluster to the next.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Where, and how to show it.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Namespace to look in [default: that of the kubeconfig's context]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Look in all namespaces
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Kubeconfig file; several as in PATH are merged [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<OsString>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// How long to wait for each answer of the API server, such as 30s or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s")]
    pub(crate) request_timeout: CimDuration,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Whether to colour the table; auto does on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub(crate) color: When,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// When to do something that depends on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// If it makes sense.
    Auto,
    /// Even into a pipe.
    Always,
    /// Not even on a terminal.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the hierarchy of names, each element with its state
    Tree,
    /// Show what a name, an address or a selector means
    ///
    /// A name may be short (host1, api.vault) or long (host1.core.example.com), and may have its kind
    /// before it (machine/host1; also service/, role/, interface/, host/, cluster/, domain/).
    /// label/KEY[=VALUE] means all machines with that label or tag.
    Resolve {
        /// Name, IP address, reverse name or selector
        query: String,
        /// The element from which a short name is looked up [default: the Domain]
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
    },
    /// Show how the outside differs from what is wanted
    Drift {
        /// What to look at [default: everything]
        #[command(flatten)]
        target: Target,
        /// End with exit code 3 when something differs
        #[arg(long)]
        exit_code: bool,
    },
    /// Show what runs where, what would change, and how far a release has come
    ///
    /// For each Cluster: its release, the rollout with its waves, and for each machine what it runs and
    /// what it should. For each object: the changes that the controller would make, or is making.
    Plan {
        /// What to look at [default: everything]
        #[command(flatten)]
        target: Target,
        /// Show whole store paths
        #[arg(long)]
        wide: bool,
    },
    /// Show what another release would change in a Cluster
    ///
    /// For a Cluster with promotion: what approving the release of the Cluster that it receives from
    /// would change.
    Diff {
        /// The Cluster
        cluster: String,
        /// A Cluster, or a past release by its revision or digest (7 characters are enough)
        /// [default: the Cluster that it receives from]
        #[arg(long, value_name = "CLUSTER|REV|DIGEST")]
        to: Option<String>,
        /// Show whole store paths, also those that stay
        #[arg(long)]
        wide: bool,
        /// End with exit code 3 when something differs
        #[arg(long)]
        exit_code: bool,
    },
    /// Approve what one Cluster runs for those that receive from it
    ///
    /// Writes the revision and every store path of the release, and your name, into the receiving
    /// Cluster; the controller delivers there what it finds to be the same, and nothing else. You need
    /// the verb `approve` on the receiving Cluster.
    Approve {
        /// The Cluster whose release passed, with its revision to be sure: dev@0123456
        #[arg(value_name = "FROM[@REV]")]
        from: ReleaseArg,
        /// Approve for this Cluster only [default: all that receive from FROM]
        #[arg(long = "for", value_name = "CLUSTER")]
        receiver: Option<String>,
        /// Why, for others
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        patience: Patience,
    },
    /// Release the plan that the controller holds for an object
    ///
    /// What destroys something waits for a person: the first installation of a machine, above all.
    /// Shows the plan, and the disks that it destroys; asks; and writes the plan's hash into the
    /// annotation cim.dev/confirm. A plan that has changed meanwhile is not released by it.
    Confirm {
        #[command(flatten)]
        target: One,
        #[command(flatten)]
        consent: Consent,
    },
    /// List the releases of a Cluster, newest first
    History {
        /// The Cluster
        cluster: String,
    },
    /// Take a Cluster back to a release that it had
    ///
    /// In a Cluster with promotion this approves that release again. In one that follows a branch it
    /// pins the revision; --release lets it follow the branch again.
    Rollback {
        /// The Cluster
        cluster: String,
        /// The release, by its revision or digest (7 characters are enough) [default: the last
        /// complete one before the present]
        #[arg(long, value_name = "REV|DIGEST", conflicts_with = "release")]
        to: Option<String>,
        /// Follow the branch again
        #[arg(long)]
        release: bool,
        /// Why, for others; kept with an approval
        #[arg(long, value_name = "TEXT", conflicts_with = "release")]
        comment: Option<String>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        patience: Patience,
    },
    /// Show the last build, activation and installation log of an object
    Logs {
        #[command(flatten)]
        target: One,
        /// Only the log of the build
        #[arg(long, conflicts_with_all = ["activation", "install"])]
        build: bool,
        /// Only the log of the activation
        #[arg(long, conflicts_with = "install")]
        activation: bool,
        /// Only the log of the first installation
        #[arg(long)]
        install: bool,
        /// Go on showing what is added, until you interrupt it
        #[arg(short, long)]
        follow: bool,
    },
    /// Have the controller look at an object now
    Reconcile {
        #[command(flatten)]
        target: One,
        /// Also try again what failed: a release that was rolled back, an aborted rollout, a phase of
        /// an installation
        #[arg(long)]
        retry: bool,
        /// Wait until the controller has handled the request, and with --retry until it begins again
        #[arg(long)]
        wait: bool,
        /// How long to wait, such as 90s or 5m
        #[arg(long, value_name = "TIME", default_value = "5m", requires = "wait")]
        timeout: CimDuration,
    },
    /// Print a script that completes this program's arguments in your shell
    ///
    /// For this session: source <(cimctl completion bash)
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// Before something is changed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Show what would be done, have the API server check it, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// After something was changed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Wait until every machine runs the release
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// How long to wait, such as 10m or 2h
    #[arg(long, value_name = "TIME", default_value = "30m", requires = "wait")]
    timeout: CimDuration,
}

impl Patience {
    /// How long to wait, if at all.
    pub(crate) fn deadline(self) -> Option<Duration> {
        self.wait.then(|| self.timeout.into())
    }
}

/// A Cluster, perhaps at a revision: `dev`, `dev@0123456`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseArg {
    pub(crate) cluster: String,
    pub(crate) rev: Option<String>,
}

impl FromStr for ReleaseArg {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let (cluster, rev) = match written.split_once('@') {
            Some((cluster, rev)) => (cluster, Some(rev)),
            None => (written, None),
        };
        let hex = |rev: &str| rev.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        match rev {
            _ if cluster.is_empty() => Err("the Cluster before the @ is missing".to_owned()),
            Some(rev) if rev.len() < 7 || !hex(rev) => {
                Err("a revision is given by 7 or more of its lower-case hexadecimal digits"
                    .to_owned())
            }
            rev => Ok(Self { cluster: cluster.to_owned(), rev: rev.map(str::to_owned) }),
        }
    }
}

impl Global {
    /// The kubeconfig files to merge, in order; empty when there is nothing to read.
    pub(crate) fn kubeconfigs(&self) -> Vec<PathBuf> {
        let Some(paths) = self.kubeconfig.clone().or_else(|| set("KUBECONFIG")) else {
            let home = env::home_dir().map(|home| home.join(".kube/config"));
            return home.filter(|path| path.exists()).into_iter().collect();
        };
        let mut paths: Vec<_> =
            env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect();
        // As kubectl: of several, those that do not exist are passed over.
        if paths.len() > 1 {
            paths.retain(|path| path.exists());
        }
        paths
    }

    /// Whether to colour what goes to standard output.
    pub(crate) fn colour(&self, terminal: bool) -> bool {
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => colour_by_default(terminal),
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout.into()
    }
}

/// Whether to colour what goes to a terminal, or to something else (<https://no-color.org>).
pub(crate) fn colour_by_default(terminal: bool) -> bool {
    terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A variable of the environment, unless it is empty.
fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Program::Cimctl.command().debug_assert();
        Program::KubectlPlugin.command().debug_assert();
    }

    #[test]
    fn a_release_is_a_cluster_at_a_revision() {
        let read = |written: &str| written.parse::<ReleaseArg>().map(|it| (it.cluster, it.rev));
        assert_eq!(read("dev"), Ok(("dev".to_owned(), None)));
        assert_eq!(read("dev@0123abc"), Ok(("dev".to_owned(), Some("0123abc".to_owned()))));
        for wrong in ["dev@", "dev@012", "@0123456", "dev@0123ABC", "dev@main123"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn help_speaks_of_the_program_as_it_was_called() {
        let help = Program::KubectlPlugin.command().render_help().to_string();
        assert!(help.contains("Usage: kubectl cim"), "{help}");
        let help = Program::Cimctl.command().render_help().to_string();
        assert!(help.contains("Usage: cimctl"), "{help}");
    }
}
