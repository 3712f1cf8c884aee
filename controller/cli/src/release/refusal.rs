//! Why a release cannot be approved, or gone back to.

/// Why not, and what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Nobody receives from it.
    #[error(
        "no Cluster receives from {cluster}; one does with spec.promotion.from: {cluster}{}", those_that_receive(.receivers)
    )]
    NoReceiver {
        cluster: String,
        /// Those that do receive from some other.
        receivers: Vec<String>,
    },
    /// `--for` names one that does not.
    #[error("Cluster {receiver} does not receive from {from}: {instead}")]
    NotFrom { receiver: String, from: String, instead: String },
    /// It takes releases by the checks of the other.
    #[error(
        "Cluster {receiver} takes each release of {from} that passed its checks (spec.promotion.approval: \
         Automatic); there is nothing to approve, and to go back means to go back in {from}"
    )]
    Automatic { receiver: String, from: String },
    /// The sending Cluster does not exist.
    #[error(
        "Cluster {receiver} receives from {from}, and there is no Cluster {from} in its namespace"
    )]
    NoSender { receiver: String, from: String },
    /// It has no release.
    #[error("Cluster {cluster} has no release yet{}", because(.why))]
    NoRelease { cluster: String, why: String },
    /// It runs another revision than was asked for.
    #[error(
        "Cluster {cluster} runs {runs}, not {wanted}; look at it again (cimctl diff) before you approve"
    )]
    OtherRevision { cluster: String, runs: String, wanted: String },
    /// Its release is not complete there.
    #[error(
        "{rev} is not complete in Cluster {cluster}: {phase}{}; only what every machine there runs can be \
         approved", because(.why)
    )]
    NotComplete { cluster: String, rev: String, phase: String, why: String },
    /// It is complete and not well.
    #[error("{rev} is complete in Cluster {cluster}, which is {phase}{}; approve when it is Ready", because(.why))]
    NotReady { cluster: String, rev: String, phase: String, why: String },
    /// Two machines of one configuration with different closures.
    #[error(
        "configuration {configuration} has two closures in that release, {} and {}; the controller should \
         not have let that happen: please report it", paths[0], paths[1]
    )]
    TwoClosures { configuration: String, paths: [String; 2] },
    /// No release of the past is meant.
    #[error("no past release of Cluster {cluster} is {wanted}{}", those_of_the_past(.known))]
    NoSuchRelease { cluster: String, wanted: String, known: Vec<String> },
    /// Several are.
    #[error("{wanted} may be each of {}; give more of it", .candidates.join(", "))]
    Ambiguous { wanted: String, candidates: Vec<String> },
    /// There is nothing before the present one.
    #[error(
        "Cluster {cluster} has no complete release before the present one to go back to{}", those_of_the_past(.known)
    )]
    NothingBefore { cluster: String, known: Vec<String> },
    /// It runs it already.
    #[error("{wanted} is the present release of Cluster {cluster}: there is nothing to go back to")]
    Present { cluster: String, wanted: String },
    /// There is no flake.
    #[error("Cluster {cluster} has no spec.source: nothing is delivered there")]
    NoSource { cluster: String },
    /// It does not follow a branch.
    #[error(
        "Cluster {cluster} {why}, so there is no branch to let it follow again; set spec.source.ref first"
    )]
    NoBranch { cluster: String, why: &'static str },
    /// A Cluster with promotion follows no branch.
    #[error(
        "Cluster {cluster} receives from {from}: approve its release again to go forward (cimctl approve {from} \
         --for {cluster})"
    )]
    Promoted { cluster: String, from: String },
    /// There is nothing to compare with.
    #[error(
        "Cluster {cluster} receives from no other: say what to compare with (--to CLUSTER, REV or DIGEST)"
    )]
    NothingToCompare { cluster: String },
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

fn those_of_the_past(releases: &[String]) -> String {
    match releases {
        [] => "; its history is empty".to_owned(),
        releases => format!("; there are {}", releases.join(", ")),
    }
}

fn those_that_receive(receivers: &[String]) -> String {
    match receivers {
        [] => String::new(),
        receivers => format!("; those that receive are {}", receivers.join(", ")),
    }
}
