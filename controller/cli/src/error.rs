use std::{path::PathBuf, time::Duration};

use kube::config::{InClusterError, KubeconfigError};

use crate::release::refusal::Refusal;

/// Why a command failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A kubeconfig cannot be used.
    #[error("cannot use the kubeconfig {}", paths(.path))]
    Kubeconfig {
        /// The files.
        path: Vec<PathBuf>,
        /// What is wrong.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// There is no kubeconfig, and this is not a pod.
    #[error("no kubeconfig; give --kubeconfig FILE, set KUBECONFIG, or write ~/.kube/config")]
    NoKubeconfig(#[source] Box<InClusterError>),
    /// The client cannot be made from it.
    #[error("cannot set up the client for {server}")]
    Client {
        /// The address of the API server.
        server: String,
        /// What is wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// Nobody answers there.
    #[error("cannot reach the API server at {server}; is it up, and is this the right context?")]
    Unreachable {
        /// Its address.
        server: String,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
    /// The answer did not come in time.
    #[error("the API server at {server} did not answer within {}s; see --request-timeout", after.as_secs())]
    Deadline {
        /// Its address.
        server: String,
        /// How long was waited.
        after: Duration,
    },
    /// The API server does not know the kind.
    #[error(
        "the API server at {server} has no {resource}; install the CRDs of cim-controller first: \
             helm install cim-controller charts/cim-controller, or kubectl apply -f crds/yaml"
    )]
    NotInstalled {
        /// Its address.
        server: String,
        /// Such as `machines.cim.dev`.
        resource: String,
    },
    /// The API server wants other credentials.
    #[error(
        "the API server at {server} does not accept these credentials; log in again, or choose another --context"
    )]
    Unauthorized {
        /// Its address.
        server: String,
    },
    /// The user may not do that.
    #[error(
        "you may not {verb} {resource} here ({message}); ask for a Role with that verb, or choose another -n NAMESPACE"
    )]
    Forbidden {
        /// Such as `list`.
        verb: &'static str,
        /// Such as `machines.cim.dev`.
        resource: String,
        /// In the words of the API server.
        message: String,
    },
    /// The API server refuses for another reason, or its answer makes no sense.
    #[error("cannot {verb} {resource}: {message}")]
    Api {
        /// Such as `list`.
        verb: &'static str,
        /// Such as `machines.cim.dev`.
        resource: String,
        /// In the words of the API server, or of the client.
        message: String,
    },
    /// No object of that kind and name.
    #[error("there is no {kind} {name} in namespace {namespace}{}", those(.known))]
    NoSuchObject {
        /// The kind.
        kind: &'static str,
        /// As asked for.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// There is nothing in which a name could be looked up.
    #[error("there is no Domain with a usable suffix in {place}; see -n, -A and --context")]
    NoDomain {
        /// `namespace home`, or `any namespace`.
        place: String,
    },
    /// A name, address or selector means nothing here.
    #[error(transparent)]
    Name(#[from] cim_names::Error),
    /// A query that is well-formed and has no answer.
    #[error("nothing in {place} has {query}")]
    NoAnswer {
        /// In canonical spelling.
        query: String,
        /// The suffixes of the Domains that were asked.
        place: String,
    },
    /// The controller did not handle the request in time.
    #[error("the controller has not handled the request for {object} within {}s{hint}; \
             is it running? its log and `kubectl describe` of the object tell more", after.as_secs())]
    NotHandled {
        /// `Machine home/host1`.
        object: String,
        /// How long was waited.
        after: Duration,
        /// What may be the reason, where it shows.
        hint: &'static str,
    },
    /// The controller has looked, and has not begun what was to be tried again.
    #[error("{object} was looked at, but is not tried again within {}s: {why}", after.as_secs())]
    NotRetried {
        /// `Cluster home/prod`.
        object: String,
        /// How long was waited.
        after: Duration,
        /// How it stands.
        why: String,
    },
    /// The object went away while it was waited for.
    #[error("{object} was deleted meanwhile")]
    Gone {
        /// `Machine home/host1`.
        object: String,
    },
    /// Words that do not go together.
    #[error("{0}")]
    Usage(String),
    /// A name that several objects have.
    #[error("{name} may be {}; say which kind is meant", .objects.join(" or "))]
    Several {
        /// As asked for.
        name: String,
        /// Those that have it.
        objects: Vec<String>,
    },
    /// A release cannot be approved, or gone back to.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The API server does not say who asks.
    #[error(
        "the API server does not tell by which user name it knows you; without one nobody can approve"
    )]
    Nobody,
    /// An admission policy refuses a change.
    #[error("nothing was changed in {object}, the API server's policy refuses it: {message}")]
    PolicyDenies {
        /// `Cluster home/prod`.
        object: String,
        /// In the words of the policy.
        message: String,
    },
    /// The object is not the one that was shown.
    #[error(
        "nothing was changed in {object}: somebody else has changed it meanwhile; look at it again"
    )]
    Changed {
        /// `Cluster home/prod`.
        object: String,
    },
    /// There is nothing to confirm.
    #[error("{object} holds no plan that waits to be confirmed; cimctl plan shows what it does")]
    NothingHeld {
        /// `Machine home/host1`.
        object: String,
    },
    /// Nobody can be asked.
    #[error(
        "{command} asks before it changes anything, and there is no terminal to ask on; say --yes"
    )]
    NobodyToAsk {
        /// The command.
        command: &'static str,
    },
    /// The answer was not yes.
    #[error("nothing was changed")]
    Declined,
    /// What was waited for cannot come.
    #[error("{object} will not run it: {why}")]
    Failed {
        /// `Cluster home/prod`.
        object: String,
        /// Why not.
        why: String,
    },
    /// What was waited for did not come in time.
    #[error("not within {}s; last seen: {last}. The change stays, and goes on without this program", after.as_secs())]
    NotReached {
        /// How long was waited.
        after: Duration,
        /// The last state.
        last: String,
    },
    /// There is no log.
    #[error("{object} has no {what}: the controller keeps the last one that it made")]
    NoLog {
        /// `Machine home/host1`.
        object: String,
        /// Such as `build log`.
        what: &'static str,
    },
    /// A flag that does not go with this command.
    #[error("{command} is about one namespace: give -n NAME instead of -A")]
    OneNamespace {
        /// The command.
        command: &'static str,
    },
    /// The result cannot be printed.
    #[error("cannot print the result")]
    Print(#[from] std::io::Error),
    /// The result has no JSON form.
    #[error("cannot print the result as JSON")]
    Json(#[from] serde_json::Error),
    /// The result has no YAML form.
    #[error("cannot print the result as YAML: {0}")]
    Yaml(String),
}

impl Error {
    /// The error with all its causes, on one line. A cause that the line before already tells is left
    /// out: client errors like to repeat each other.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let told = error.to_string();
            if !text.contains(&told) {
                text = format!("{text}: {told}");
            }
            cause = error.source();
        }
        text
    }
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// How many names an error lists.
const MAX_KNOWN: usize = 10;

fn those(names: &[String]) -> String {
    match names {
        [] => "; there is none at all".to_owned(),
        names => {
            let more = if names.len() > MAX_KNOWN { ", …" } else { "" };
            format!("; there are {}{more}", names[..names.len().min(MAX_KNOWN)].join(", "))
        }
    }
}
