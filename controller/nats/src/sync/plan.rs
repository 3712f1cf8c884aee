//! The difference between the accounts that are wanted and those that the servers have.

use std::collections::BTreeMap;

use cim_plan::{Finding, Plan};

use super::change::{Change, Why};
use super::observe::Observed;
use crate::error::Result;
use crate::jwt::canonical::{self, Canonical, Difference};
use crate::jwt::{AccountBody, AccountLimits, Claims};
use crate::keys::{AccountKey, OperatorKey};
use crate::system::Lookup;
use crate::time::UnixTime;

/// The accounts that are wanted. Only accounts whose identity seed we hold belong here.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The key that will sign.
    pub signer: OperatorKey,
    /// Servers that should answer; more may.
    pub servers: usize,
    /// The accounts, unsigned.
    pub accounts: BTreeMap<AccountKey, Claims<AccountBody>>,
    /// Accounts of ours that are to go. One that shall stay though nobody wants it any more
    /// (deletion policy Orphan) is not listed anywhere and shows as unexpected.
    pub delete: BTreeMap<AccountKey, Deletion>,
    /// When we last issued each account, as far as is known.
    pub issued: BTreeMap<AccountKey, UnixTime>,
    /// The present time.
    pub now: UnixTime,
}

/// An account that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its name.
    pub name: String,
    /// Whether its streams go with it.
    pub purge: bool,
}

/// Compares. Nothing is pushed while any server would store what we sign and then refuse its users:
/// a server takes whatever any operator has signed, over what it had.
pub fn plan(desired: &Desired, observed: &Observed) -> Result<Plan<Change>> {
    let mut planner = Planner { desired, observed, changes: Vec::new(), findings: Vec::new() };
    planner.servers();
    for claims in desired.accounts.values() {
        planner.account(claims)?;
    }
    for (account, deletion) in &desired.delete {
        planner.deletion(account, deletion)?;
    }
    planner.unknown();
    let Planner { mut changes, findings, .. } = planner;
    if observed.servers.iter().any(|state| !state.server.trusts.contains(&desired.signer)) {
        changes.clear();
    }
    // An importer pushed before its exporter works, but only from the exporter's push on.
    changes.sort_by_key(|change| {
        matches!(change, Change::PushAccount { claims, .. } if !claims.nats.imports.is_empty())
    });
    Ok(Plan::new(changes, findings))
}

/// Claims of an account that admits nobody.
pub(super) fn tombstone(account: &AccountKey, name: &str) -> Claims<AccountBody> {
    let body = AccountBody {
        description: "closed; to be deleted".into(),
        ..AccountBody::new(AccountLimits::none())
    };
    Claims::new(name, account.clone(), body)
}

struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    changes: Vec<Change>,
    findings: Vec<Finding>,
}

impl<'a> Planner<'a> {
    fn servers(&mut self) {
        let (wanted, answered) = (self.desired.servers, self.observed.servers.len());
        if answered < wanted {
            let states = &self.observed.servers;
            let there: Vec<_> = states.iter().map(|state| state.server.name.as_str()).collect();
            let offline = states.iter().flat_map(|state| &state.server.offline);
            let offline: Vec<_> = offline.map(|name| format!(", {name} offline")).collect();
            let why = format!("{answered} answered: {}{}", there.join(", "), offline.concat());
            self.findings.push(Finding::unverified("servers", format!("{wanted} servers"), why));
        }
        for state in &self.observed.servers {
            let trusts = &state.server.trusts;
            if trusts.contains(&self.desired.signer) {
                continue;
            }
            let found = trusts.iter().map(OperatorKey::as_str).collect::<Vec<_>>().join(", ");
            self.findings.push(Finding::changed(
                format!("server {}, trusted operator keys", state.server.name),
                self.desired.signer.as_str(),
                if found.is_empty() { "none".into() } else { found },
            ));
        }
    }

    fn account(&mut self, claims: &Claims<AccountBody>) -> Result<()> {
        let subject = format!("account {}", claims.name);
        let wanted = self.canonical(claims)?;
        let copies = self.copies(&claims.sub);
        if copies.len() < self.observed.servers.len() {
            let why = format!(
                "{} of {} servers answered for it",
                copies.len(),
                self.observed.servers.len()
            );
            self.findings.push(Finding::unverified(&subject, "equal on all servers", why));
        }
        let mut why = None;
        if let Some(found) =
            copies.iter().map(|copy| differs(&wanted, copy)).find_map(Result::transpose)
        {
            let found = found?;
            self.findings.push(Finding::changed(&subject, found.wanted, found.found));
            why = Some(Why::Changed);
        }
        let absent = copies.iter().filter(|copy| **copy == Lookup::Absent).count();
        if absent > 0 {
            let on = match self.observed.without(&claims.sub) {
                names if names.is_empty() => {
                    format!("on {absent} more of {} servers", copies.len())
                }
                names => format!("on {}", names.join(", ")),
            };
            self.findings.push(Finding::missing(&subject, on));
            why = why.or(Some(Why::Missing));
        }
        if let Some(why) = why {
            let iat = self.next_iat(&claims.sub);
            self.changes.push(Change::PushAccount { why, claims: Box::new(claims.clone()), iat });
        }
        Ok(())
    }

    fn deletion(&mut self, account: &AccountKey, deletion: &Deletion) -> Result<()> {
        let copies = self.copies(account);
        if copies.iter().all(|copy| *copy == Lookup::Absent) {
            return Ok(());
        }
        let Deletion { name, purge } = deletion;
        let on = self.observed.with(account).join(", ");
        let found = format!("present on {}", if on.is_empty() { "a server" } else { &on });
        self.findings.push(Finding::changed(format!("account {name}"), "absent", found));
        let closed = self.canonical(&tombstone(account, name))?;
        let mut open = false;
        for copy in copies {
            open |= *copy == Lookup::Absent || differs(&closed, copy)?.is_some();
        }
        if open {
            let iat = self.next_iat(account);
            self.changes.push(Change::Tombstone {
                account: account.clone(),
                name: name.clone(),
                iat,
            });
        }
        // A server that is down has not seen the tombstone; without it, it would restore the account.
        if copies.len() < self.desired.servers.max(self.observed.servers.len()) {
            return Ok(());
        }
        let (account, name) = (account.clone(), name.clone());
        if *purge {
            // Before the deletion, so that a crash in between leaves something that shows it.
            self.changes
                .push(Change::PurgeJetStream { account: account.clone(), name: name.clone() });
        }
        self.changes.push(Change::DeleteAccount { account, name });
        Ok(())
    }

    fn unknown(&mut self) {
        for (account, name) in &self.observed.unknown {
            let name = name.as_deref().unwrap_or("unnamed");
            let on = self.observed.with(account).join(", ");
            self.findings.push(Finding::unexpected(
                format!("account {account}"),
                format!("{name}, on {on}"),
            ));
        }
    }

    fn canonical(&self, claims: &Claims<AccountBody>) -> Result<Canonical> {
        let signed = Claims { iss: Some(self.desired.signer.clone().into()), ..claims.clone() };
        canonical::of_claims(&signed)
    }

    fn copies(&self, account: &AccountKey) -> &'a [Lookup] {
        self.observed.accounts.get(account).map_or(&[], Vec::as_slice)
    }

    /// Servers that were apart keep the later of two JWTs, and of two with one time either.
    fn next_iat(&self, account: &AccountKey) -> UnixTime {
        let issued = self.desired.issued.get(account).copied();
        let last = issued.max(self.observed.latest(account));
        last.map_or(self.desired.now, |last| self.desired.now.max(last.next()))
    }
}

/// How a copy differs, for people; nothing if it is equal, or absent.
struct Differs {
    wanted: String,
    found: String,
}

fn differs(wanted: &Canonical, copy: &Lookup) -> Result<Option<Differs>> {
    let token = match copy {
        Lookup::Absent => return Ok(None),
        Lookup::Invalid(why) => {
            let wanted = "a valid JWT".into();
            return Ok(Some(Differs { wanted, found: why.chars().take(200).collect() }));
        }
        Lookup::Found(token) => token,
    };
    let differences = wanted.differences(&canonical::of_token(token)?);
    if differences.is_empty() {
        return Ok(None);
    }
    let list = |value: fn(&Difference) -> &Option<String>| {
        const SHOWN: usize = 3;
        let show = |difference: &Difference| {
            let value = value(difference).as_deref().unwrap_or("absent");
            format!("{} {value}", difference.path)
        };
        let text = differences.iter().take(SHOWN).map(show).collect::<Vec<_>>().join(", ");
        match differences.len().saturating_sub(SHOWN) {
            0 => text,
            more => format!("{text} and {more} more"),
        }
    };
    Ok(Some(Differs { wanted: list(|d| &d.wanted), found: list(|d| &d.found) }))
}
