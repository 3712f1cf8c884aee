//! The laws of the plan, over a model of servers: each stores what comes last, and two that meet
//! again keep the later of their JWTs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cim_plan::{DriftClass, Plan, testkit};
use proptest::prelude::*;

use super::change::Change;
use super::observe::{Observed, ServerState};
use super::plan::{Deletion, Desired, plan, tombstone};
use crate::jwt::{AccountBody, AccountLimits, Claims, Token};
use crate::keys::{AccountKey, AccountSeed, OperatorKey, OperatorSeed};
use crate::system::{Lookup, Server};
use crate::time::UnixTime;

const SERVERS: usize = 3;
const ACCOUNTS: usize = 4;

struct Fixture {
    operator: OperatorSeed,
    rogue: OperatorSeed,
    accounts: Vec<AccountKey>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture {
    operator: OperatorSeed::generate().unwrap(),
    rogue: OperatorSeed::generate().unwrap(),
    accounts: (0..ACCOUNTS).map(|_| AccountSeed::generate().unwrap().public()).collect(),
});

fn claims(account: &AccountKey, conn: i64) -> Claims<AccountBody> {
    Claims::new(
        "a",
        account.clone(),
        AccountBody::new(AccountLimits { conn, ..AccountLimits::unlimited() }),
    )
}

/// One server's copy of an account.
#[derive(Clone, Debug, PartialEq)]
enum Copy {
    Junk,
    Signed(Box<Token<AccountBody>>),
}

impl Copy {
    fn signed(claims: Claims<AccountBody>, iat: UnixTime, by: &OperatorSeed) -> Self {
        Self::Signed(Box::new(Token::sign(claims, iat, by).unwrap()))
    }

    fn iat(&self) -> Option<UnixTime> {
        match self {
            Self::Junk => None,
            Self::Signed(token) => Some(token.claims().iat),
        }
    }
}

#[derive(Clone, Debug)]
struct Model {
    stores: Vec<BTreeMap<AccountKey, Copy>>,
    up: Vec<bool>,
    trusts: OperatorKey,
}

impl Model {
    fn up(&mut self) -> impl Iterator<Item = &mut BTreeMap<AccountKey, Copy>> {
        self.stores.iter_mut().zip(&self.up).filter(|(_, up)| **up).map(|(store, _)| store)
    }

    fn observe(&self, desired: &Desired) -> Observed {
        let asked: BTreeSet<_> = desired.accounts.keys().chain(desired.delete.keys()).collect();
        let stores = || self.stores.iter().zip(&self.up).filter(|(_, up)| **up).map(|(s, _)| s);
        let look = |store: &BTreeMap<AccountKey, Copy>, key: &AccountKey| match store.get(key) {
            None => Lookup::Absent,
            Some(Copy::Junk) => Lookup::Invalid("junk".into()),
            Some(Copy::Signed(token)) => Lookup::Found(token.clone()),
        };
        Observed {
            servers: stores().enumerate().map(|(n, store)| self.state(n, store)).collect(),
            accounts: asked
                .iter()
                .map(|key| ((*key).clone(), stores().map(|store| look(store, key)).collect()))
                .collect(),
            unknown: stores()
                .flat_map(BTreeMap::keys)
                .filter(|key| !asked.contains(key))
                .map(|key| (key.clone(), None))
                .collect(),
        }
    }

    fn state(&self, n: usize, store: &BTreeMap<AccountKey, Copy>) -> ServerState {
        let server = Server {
            id: format!("N{n}"),
            name: format!("n{n}"),
            version: "2.15.2".into(),
            max_payload: 1 << 20,
            jetstream: true,
            trusts: [self.trusts.clone()].into(),
            offline: BTreeSet::new(),
        };
        ServerState { server, holds: Some(store.keys().cloned().collect()) }
    }

    fn apply(&mut self, change: &Change) {
        let operator = &FIXTURE.operator;
        let stored = match change {
            Change::PushAccount { claims, iat, .. } => {
                Some(Copy::signed((**claims).clone(), *iat, operator))
            }
            Change::Tombstone { account, name, iat } => {
                Some(Copy::signed(tombstone(account, name), *iat, operator))
            }
            Change::PurgeJetStream { .. } => return,
            Change::DeleteAccount { .. } => None,
        };
        let account = change.account().clone();
        for store in self.up() {
            match &stored {
                Some(copy) => drop(store.insert(account.clone(), copy.clone())),
                None => drop(store.remove(&account)),
            }
        }
    }

    /// All servers come back and synchronise: the later copy wins, and of two of one time the copy of
    /// the server that was away, which is the worse one for us.
    fn reunite(&mut self) {
        let away: BTreeSet<_> = (0..SERVERS).filter(|n| !self.up[*n]).collect();
        self.up = vec![true; SERVERS];
        let keys: BTreeSet<_> = self.stores.iter().flat_map(BTreeMap::keys).cloned().collect();
        for key in keys {
            let best = self
                .stores
                .iter()
                .enumerate()
                .filter_map(|(n, store)| Some((store.get(&key)?, away.contains(&n))))
                .max_by_key(|(copy, away)| (copy.iat(), *away))
                .map(|(copy, _)| copy.clone());
            for store in &mut self.stores {
                store.extend(best.clone().map(|copy| (key.clone(), copy)));
            }
        }
    }
}

fn copy() -> impl Strategy<Value = Option<(i64, i64, bool, bool)>> {
    // conn, iat, rogue, junk
    proptest::option::of((
        0..3_i64,
        0..2_000_i64,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
    ))
}

prop_compose! {
    fn model()(
        copies in prop::collection::vec(prop::collection::vec(copy(), ACCOUNTS), SERVERS),
        up in prop::collection::vec(prop::bool::weighted(0.7), SERVERS),
    ) -> Model {
        let Fixture { operator, rogue, accounts } = &*FIXTURE;
        let store = |copies: Vec<Option<(i64, i64, bool, bool)>>| accounts
            .iter()
            .zip(copies)
            .filter_map(|(key, copy)| Some((key.clone(), copy?)))
            .map(|(key, (conn, iat, by_rogue, junk))| {
                let by = if by_rogue { rogue } else { operator };
                let copy = Copy::signed(claims(&key, conn), UnixTime(iat), by);
                (key, if junk { Copy::Junk } else { copy })
            })
            .collect();
        Model { stores: copies.into_iter().map(store).collect(), up, trusts: operator.public() }
    }
}

prop_compose! {
    /// Of four accounts each is wanted, to be deleted, or nobody's.
    fn desired()(roles in prop::collection::vec(0..3_u8, ACCOUNTS), now in 500..1_500_i64) -> Desired {
        let of = |role: u8| {
            FIXTURE.accounts.iter().zip(roles.clone()).filter(move |(_, r)| *r == role).map(|(key, _)| key)
        };
        let deletion = Deletion { name: "old".into(), purge: true };
        Desired {
            signer: FIXTURE.operator.public(),
            servers: SERVERS,
            accounts: of(0).map(|key| (key.clone(), claims(key, 1))).collect(),
            delete: of(1).map(|key| (key.clone(), deletion.clone())).collect(),
            issued: BTreeMap::new(),
            now: UnixTime(now),
        }
    }
}

fn planned(desired: &Desired, model: &Model) -> Plan<Change> {
    plan(desired, &model.observe(desired)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_prefix_converges_whoever_is_down(model in model(), desired in desired()) {
        testkit::assert_converges(&model, |model| planned(&desired, model), Model::apply);
    }

    #[test]
    fn what_was_pushed_or_closed_outlives_the_return_of_servers(
        model in model(),
        desired in desired(),
    ) {
        let mut model = model;
        planned(&desired, &model).changes.iter().for_each(|change| model.apply(change));
        model.reunite();
        // Nobody who was cut off may be let in again by the return of a server that was away, as
        // soon as those that were there have been told.
        planned(&desired, &model).changes.iter().for_each(|change| model.apply(change));
        let left = planned(&desired, &model);
        prop_assert!(left.is_empty(), "{left}");
        for store in &model.stores {
            for key in desired.delete.keys() {
                prop_assert!(!store.contains_key(key));
            }
            for (key, claims) in &desired.accounts {
                let Some(Copy::Signed(token)) = store.get(key) else { panic!("{key} is missing") };
                prop_assert_eq!(&token.claims().nats, &claims.nats);
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_is_reported_and_left_alone(model in model(), desired in desired()) {
        let mut after = model.clone();
        let plan = planned(&desired, &model);
        plan.changes.iter().for_each(|change| after.apply(change));
        let ours = |key: &AccountKey| desired.accounts.contains_key(key) || desired.delete.contains_key(key);
        for (before, after) in model.stores.iter().zip(&after.stores) {
            for (key, copy) in before.iter().filter(|(key, _)| !ours(key)) {
                prop_assert_eq!(after.get(key), Some(copy));
            }
        }
        let foreign: BTreeSet<_> = model.observe(&desired).unknown.into_keys().collect();
        prop_assert_eq!(plan.count(DriftClass::Unexpected), foreign.len());
    }

    #[test]
    fn servers_of_another_operator_are_not_written_to(model in model(), desired in desired()) {
        let model = Model { trusts: FIXTURE.rogue.public(), ..model };
        let plan = planned(&desired, &model);
        prop_assert!(plan.is_empty());
        let up = model.up.iter().filter(|up| **up).count();
        let refusals = plan.findings.iter().filter(|f| f.subject.contains("trusted operator keys"));
        prop_assert_eq!(refusals.count(), up);
    }

    #[test]
    fn every_push_is_later_than_all_that_is_known(model in model(), desired in desired()) {
        let mut desired = desired;
        desired.issued = desired.accounts.keys().map(|key| (key.clone(), UnixTime(1_700))).collect();
        let observed = model.observe(&desired);
        for change in plan(&desired, &observed).unwrap().changes {
            let (Change::PushAccount { iat, .. } | Change::Tombstone { iat, .. }) = &change else { continue };
            prop_assert!(*iat >= desired.now);
            prop_assert!(observed.latest(change.account()).is_none_or(|seen| *iat > seen));
            prop_assert!(desired.issued.get(change.account()).is_none_or(|last| iat > last));
        }
    }
}

#[test]
fn the_name_of_a_plan_does_not_change_with_the_time() {
    let Fixture { operator, accounts, .. } = &*FIXTURE;
    let model = Model {
        stores: vec![BTreeMap::new(); SERVERS],
        up: vec![true; SERVERS],
        trusts: operator.public(),
    };
    let at = |now| Desired {
        signer: operator.public(),
        servers: SERVERS,
        accounts: [(accounts[0].clone(), claims(&accounts[0], 1))].into(),
        delete: BTreeMap::new(),
        issued: BTreeMap::new(),
        now: UnixTime(now),
    };
    assert_eq!(planned(&at(1), &model).hash(), planned(&at(2), &model).hash());
}

#[test]
fn a_silent_server_is_unverified_and_not_missing() {
    let Fixture { operator, accounts, .. } = &*FIXTURE;
    let good = Copy::signed(claims(&accounts[0], 1), UnixTime(1), operator);
    let model = Model {
        stores: vec![[(accounts[0].clone(), good)].into(); SERVERS],
        up: vec![true, true, false],
        trusts: operator.public(),
    };
    let desired = Desired {
        signer: operator.public(),
        servers: SERVERS,
        accounts: [(accounts[0].clone(), claims(&accounts[0], 1))].into(),
        delete: BTreeMap::new(),
        issued: BTreeMap::new(),
        now: UnixTime(9),
    };
    let plan = planned(&desired, &model);
    assert!(plan.is_empty());
    assert_eq!(plan.findings.len(), 1);
    assert_eq!(plan.findings[0].class, DriftClass::Unverified);
    assert_eq!(plan.findings[0].found.as_deref(), Some("2 answered: n0, n1"));
}
