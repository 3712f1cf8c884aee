//! What belongs to a closure. A path's references never change, so the local Nix is asked once for
//! all closures that share it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::nix::Nix;
use crate::provenance;
use crate::store_path::StorePath;

/// Paths remembered; some tens of closures that share little.
const MAX_KNOWN: usize = 100_000;

/// A path of a closure.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) path: StorePath,
    /// Its length as an archive, in bytes.
    pub(super) nar_size: u64,
    /// Without itself.
    pub(super) references: Vec<StorePath>,
}

/// The paths known so far.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<StorePath, Arc<Member>>>);

impl Members {
    /// All paths of `closure`, what is referred to before what refers to it; `None` if not all of
    /// them are known.
    fn of(&self, closure: &StorePath) -> Option<Vec<Arc<Member>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut sorted, mut seen) = (Vec::new(), HashSet::from([closure]));
        // A member, and how many of its references were followed.
        let mut way = vec![(known.get(closure)?, 0)];
        while let Some((member, followed)) = way.last_mut() {
            let member = *member;
            if let Some(reference) = member.references.get(*followed) {
                *followed += 1;
                if seen.insert(reference) {
                    way.push((known.get(reference)?, 0));
                }
            } else {
                sorted.push(Arc::clone(member));
                way.pop();
            }
        }
        Some(sorted)
    }

    /// The members for `paths`, as far as they are known, and what they refer to beyond themselves.
    pub(super) fn with_references(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> (Vec<Arc<Member>>, Vec<StorePath>) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let members: Vec<_> = paths.iter().filter_map(|path| known.get(path).cloned()).collect();
        let references: BTreeSet<_> = members.iter().flat_map(|it| &it.references).collect();
        let beyond = references.into_iter().filter(|path| !paths.contains(path)).cloned().collect();
        (members, beyond)
    }

    /// Whether the NAR of a known path has at most that many bytes.
    pub(super) fn is_within(&self, path: &StorePath, bytes: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(path).is_some_and(|member| member.nar_size <= bytes)
    }

    fn learn(&self, members: Vec<Member>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + members.len() > MAX_KNOWN {
            known.clear();
        }
        known.extend(members.into_iter().map(|it| (it.path.clone(), Arc::new(it))));
    }
}

impl Nix {
    /// All paths of `closure`, what is referred to before what refers to it.
    pub(super) async fn members(&self, closure: &StorePath) -> Result<Vec<Arc<Member>>, Error> {
        if let Some(members) = self.copies().members.of(closure) {
            return Ok(members);
        }
        self.learn_members(&[closure]).await?;
        self.copies().members.of(closure).ok_or_else(|| Error::BadOutput {
            what: format!("asking for the closure of {closure}"),
            why: "it is not complete".to_owned(),
        })
    }

    /// Learns what belongs to `closures` in one run of Nix. Copies of them need not ask then.
    pub(crate) async fn learn_members(&self, closures: &[&StorePath]) -> Result<(), Error> {
        let what = match closures {
            [closure] => format!("asking for the closure of {closure}"),
            closures => format!("asking for {} closures", closures.len()),
        };
        let args = ["path-info", "--json", "--recursive", "--"].into_iter();
        let args = args.chain(closures.iter().map(|closure| closure.as_str()));
        let output = self.nix(args, self.limits().store, what.clone()).run().await?;
        if !output.success() {
            return Err(Error::ToolFailed { what, code: output.code, stderr: output.stderr });
        }
        let bad =
            |why: &dyn ToString| Error::BadOutput { what: what.clone(), why: why.to_string() };
        let known = provenance::entries(&output.stdout).map_err(|error| bad(&error))?;
        let members = known.into_iter().map(|(name, info)| {
            let path: StorePath = absolute(&name).parse()?;
            let references = info.references.iter().map(|name| absolute(name).parse());
            let mut references = references.collect::<Result<Vec<StorePath>, _>>()?;
            references.retain(|reference| *reference != path);
            Ok(Member { path, nar_size: info.nar_size, references })
        });
        self.copies().members.learn(members.collect::<Result<_, Error>>()?);
        Ok(())
    }
}

/// Some versions of Nix name paths without their directory.
fn absolute(name: &str) -> String {
    format!("/nix/store/{}", name.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(letter: char) -> StorePath {
        format!("/nix/store/{}-{letter}", letter.to_string().repeat(32)).parse().unwrap()
    }

    fn member(letter: char, references: &str) -> Member {
        Member {
            path: path(letter),
            nar_size: 1,
            references: references.chars().map(path).collect(),
        }
    }

    #[test]
    fn what_is_referred_to_comes_first_and_once() {
        let members = Members::default();
        assert!(members.of(&path('a')).is_none());
        members.learn(vec![member('a', "bcd"), member('b', "cd"), member('c', "d")]);
        assert!(members.of(&path('a')).is_none(), "d is not known");
        members.learn(vec![member('d', "")]);
        let names: String =
            members.of(&path('a')).unwrap().iter().map(|it| it.path.name().to_owned()).collect();
        assert_eq!(names, "dcba");
    }
}
