//! The five kinds as people write them.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use cim_crds::{Cluster, Domain, Kind, Machine, ObjectReplica, Service};
use kube::CustomResourceExt;
use serde::Serialize;

/// One of the five kinds: `machine`, `machines`, `mach` and `machines.cim.dev` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum KindArg {
    /// A Domain.
    Domain,
    /// A Cluster.
    Cluster,
    /// A Machine.
    Machine,
    /// A Service.
    Service,
    /// An ObjectReplica.
    ObjectReplica,
}

impl KindArg {
    /// All of them, from the root down.
    pub(crate) const ALL: [Self; 5] =
        [Self::Domain, Self::Cluster, Self::Machine, Self::Service, Self::ObjectReplica];

    /// As in a manifest.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Domain => Domain::KIND,
            Self::Cluster => Cluster::KIND,
            Self::Machine => Machine::KIND,
            Self::Service => Service::KIND,
            Self::ObjectReplica => ObjectReplica::KIND,
        }
    }

    /// All its names on the command line: singular, plural, short.
    fn names(self) -> Vec<String> {
        let names = match self {
            Self::Domain => Domain::crd(),
            Self::Cluster => Cluster::crd(),
            Self::Machine => Machine::crd(),
            Self::Service => Service::crd(),
            Self::ObjectReplica => ObjectReplica::crd(),
        }
        .spec
        .names;
        let mut all = vec![self.kind().to_lowercase(), names.plural];
        all.extend(names.short_names.unwrap_or_default());
        all
    }
}

impl FromStr for KindArg {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let lower = written.to_lowercase();
        let bare = lower.strip_suffix(&format!(".{}", cim_crds::GROUP)).unwrap_or(&lower);
        Self::ALL.into_iter().find(|kind| kind.names().iter().any(|name| name == bare)).ok_or_else(
            || {
                let known = Self::ALL.map(|kind| kind.names().join(" or "));
                format!("there is no kind of that name; known are {}", known.join(", "))
            },
        )
    }
}

impl Display for KindArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_all_their_names() {
        for written in ["machine", "Machine", "machines", "mach", "machines.cim.dev"] {
            assert_eq!(written.parse(), Ok(KindArg::Machine));
        }
        assert_eq!("csvc".parse(), Ok(KindArg::Service));
        assert_eq!("objr".parse(), Ok(KindArg::ObjectReplica));
        let refused = "svc".parse::<KindArg>().unwrap_err();
        assert!(refused.contains("service or services or csvc"), "{refused}");
    }
}
