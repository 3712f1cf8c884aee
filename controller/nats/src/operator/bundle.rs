//! Everything that the trust root consists of, generated once and kept in a Secret.

use std::collections::BTreeMap;

use super::resolver::{DEFAULT_RESOLVER_DIR, resolver_conf};
use crate::creds::Creds;
use crate::error::{Error, Result};
use crate::jwt::{
    AccountBody, AccountLimits, Claims, Export, ExportKind, OperatorBody, Permissions, SigningKey,
    Token,
};
use crate::keys::{AccountKey, AccountSeed, OperatorKey, OperatorSeed, UserSeed};
use crate::time::UnixTime;
use crate::user::plain_user;

/// Keys of the Secret's data. `SYSTEM_KEY` and `RESOLVER_CONF` are derived, for whoever configures a
/// server; they are not read back.
mod data {
    pub(super) const OPERATOR_JWT: &str = "operator.jwt";
    pub(super) const OPERATOR_SEED: &str = "operator.seed";
    pub(super) const OPERATOR_SIGNING_SEED: &str = "operator.signing.seed";
    pub(super) const SYSTEM_JWT: &str = "sys.account.jwt";
    pub(super) const SYSTEM_KEY: &str = "sys.account.pub";
    pub(super) const SYSTEM_SEED: &str = "sys.seed";
    pub(super) const SYSTEM_SIGNING_SEED: &str = "sys.signing.seed";
    pub(super) const SYSTEM_CREDS: &str = "sys.creds";
    pub(super) const RESOLVER_CONF: &str = "resolver.conf";
}

/// An operator, the key with which it signs accounts, and access to its system account.
///
/// The identity seeds are not needed for any daily work and may be taken out of the Secret and kept
/// offline: the operator is strict, so servers accept signing keys only.
#[derive(Clone, Debug)]
pub struct OperatorBundle {
    operator: Token<OperatorBody>,
    identity: Option<OperatorSeed>,
    signing: OperatorSeed,
    system_account: Token<AccountBody>,
    system_identity: Option<AccountSeed>,
    system_signing: Option<AccountSeed>,
    system_creds: Creds,
}

impl OperatorBundle {
    /// A new operator called `name` with its system account `SYS` and one system user, for ever.
    pub fn generate(name: &str, now: UnixTime) -> Result<Self> {
        let (identity, signing) = (OperatorSeed::generate()?, OperatorSeed::generate()?);
        let (system_identity, system_signing) =
            (AccountSeed::generate()?, AccountSeed::generate()?);
        let body = OperatorBody {
            signing_keys: vec![signing.public()],
            system_account: Some(system_identity.public()),
            strict_signing_key_usage: true,
            ..OperatorBody::default()
        };
        let operator = Token::sign(Claims::new(name, identity.public(), body), now, &identity)?;
        let account = Claims::new(
            "SYS",
            system_identity.public(),
            system_account_body(system_signing.public()),
        );
        let system_account = Token::sign(account, now, &signing)?;
        let system_creds = plain_user(
            &system_identity.public(),
            &system_signing,
            "sys",
            UserSeed::generate()?,
            Permissions::default(),
            now,
            None,
        )?;
        Ok(Self {
            operator,
            identity: Some(identity),
            signing,
            system_account,
            system_identity: Some(system_identity),
            system_signing: Some(system_signing),
            system_creds,
        })
    }

    /// Reads what [`Self::to_data`] wrote, or what somebody else put together: needed are
    /// `operator.jwt`, `sys.account.jwt`, `sys.creds` and a seed that may sign accounts
    /// (`operator.signing.seed`, else `operator.seed` where the operator is not strict).
    ///
    /// Refused unless all parts belong together.
    pub fn from_data(data: &BTreeMap<String, String>) -> Result<Self> {
        let operator: Token<OperatorBody> = required(data, data::OPERATOR_JWT, Token::decode)?;
        let identity = optional(data, data::OPERATOR_SEED, OperatorSeed::parse)?;
        let signing = optional(data, data::OPERATOR_SIGNING_SEED, OperatorSeed::parse)?;
        let system_account: Token<AccountBody> = required(data, data::SYSTEM_JWT, Token::decode)?;
        let bundle = Self {
            signing: signing.or_else(|| identity.clone()).ok_or_else(|| {
                wrong(data::OPERATOR_SIGNING_SEED, "missing; it signs the accounts".into())
            })?,
            identity,
            operator,
            system_account,
            system_identity: optional(data, data::SYSTEM_SEED, AccountSeed::parse)?,
            system_signing: optional(data, data::SYSTEM_SIGNING_SEED, AccountSeed::parse)?,
            system_creds: required(data, data::SYSTEM_CREDS, Creds::parse)?,
        };
        bundle.check()?;
        Ok(bundle)
    }

    /// The parts as data of a Secret. All of it is secret but `operator.jwt`, `sys.account.jwt`,
    /// `sys.account.pub` and `resolver.conf`.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        let seed = |key: &str, seed: Option<&str>| Some((key.to_owned(), seed?.to_owned()));
        let text = |key: &str, text: &str| Some((key.to_owned(), text.to_owned()));
        [
            text(data::OPERATOR_JWT, self.operator.as_str()),
            seed(data::OPERATOR_SEED, self.identity.as_ref().map(OperatorSeed::reveal)),
            text(data::OPERATOR_SIGNING_SEED, self.signing.reveal()),
            text(data::SYSTEM_JWT, self.system_account.as_str()),
            text(data::SYSTEM_KEY, self.system_account_key().as_str()),
            seed(data::SYSTEM_SEED, self.system_identity.as_ref().map(AccountSeed::reveal)),
            seed(data::SYSTEM_SIGNING_SEED, self.system_signing.as_ref().map(AccountSeed::reveal)),
            text(data::SYSTEM_CREDS, &self.system_creds.reveal()),
            text(data::RESOLVER_CONF, &self.resolver_conf(DEFAULT_RESOLVER_DIR)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The server configuration that obeys this operator and keeps its accounts in `dir`.
    pub fn resolver_conf(&self, dir: &str) -> String {
        resolver_conf(&self.operator, &self.system_account, dir)
    }

    /// The operator's identity: what servers must trust.
    pub fn operator_key(&self) -> &OperatorKey {
        &self.operator.claims().sub
    }

    /// The operator's token.
    pub fn operator(&self) -> &Token<OperatorBody> {
        &self.operator
    }

    /// Signs accounts and delete claims.
    pub fn signing(&self) -> &OperatorSeed {
        &self.signing
    }

    /// The system account.
    pub fn system_account_key(&self) -> &AccountKey {
        &self.system_account.claims().sub
    }

    /// The system account's token.
    pub fn system_account(&self) -> &Token<AccountBody> {
        &self.system_account
    }

    /// Credentials of the system user. Whoever has them rules all accounts.
    pub fn system_creds(&self) -> &Creds {
        &self.system_creds
    }

    /// Whether an account token by `issuer` is one of this operator.
    pub fn is_issuer(&self, issuer: &crate::jwt::Issuer) -> bool {
        let body = &self.operator.claims().nats;
        body.signing_keys.iter().any(|key| issuer.is(key))
            || (!body.strict_signing_key_usage && issuer.is(self.operator_key()))
    }

    fn check(&self) -> Result<()> {
        let signer = self.signing.public();
        if !self.is_issuer(&signer.clone().into()) {
            let why = format!(
                "{signer} is no signing key of operator {}; put a seed of one of its \
                 signing_keys here",
                self.operator_key()
            );
            return Err(wrong(data::OPERATOR_SIGNING_SEED, why));
        }
        let system = self.system_account.claims();
        if self.operator.claims().nats.system_account.as_ref() != Some(&system.sub) {
            let why = format!("{} is not the system account of the operator", system.sub);
            return Err(wrong(data::SYSTEM_JWT, why));
        }
        if !system.iss.as_ref().is_some_and(|issuer| self.is_issuer(issuer)) {
            return Err(wrong(data::SYSTEM_JWT, "it is not signed by the operator".into()));
        }
        let user = self.system_creds.user().claims();
        if user.nats.issuer_account.as_ref() != Some(&system.sub)
            && !user.iss.as_ref().is_some_and(|issuer| issuer.is(&system.sub))
        {
            return Err(wrong(data::SYSTEM_CREDS, "they are not of the system account".into()));
        }
        Ok(())
    }
}

/// The claims that `nsc` gives its SYS account: each account may watch itself, and nobody else.
fn system_account_body(signing: AccountKey) -> AccountBody {
    let streams = Export {
        account_token_position: 3,
        description: "Events of the importing account".into(),
        ..Export::new(ExportKind::Stream, "account-monitoring-streams", "$SYS.ACCOUNT.*.>")
    };
    let services = Export {
        account_token_position: 4,
        response_type: Some(crate::jwt::ResponseType::Stream),
        description: "Subscriptions, connections and more of the importing account".into(),
        ..Export::new(ExportKind::Service, "account-monitoring-services", "$SYS.REQ.ACCOUNT.*.*")
    };
    AccountBody {
        exports: vec![services, streams],
        signing_keys: vec![SigningKey::Plain(signing)],
        ..AccountBody::new(AccountLimits::unlimited())
    }
}

fn required<T>(
    data: &BTreeMap<String, String>,
    key: &str,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<T> {
    optional(data, key, parse)?.ok_or_else(|| wrong(key, "missing".into()))
}

fn optional<T>(
    data: &BTreeMap<String, String>,
    key: &str,
    parse: impl Fn(&str) -> Result<T>,
) -> Result<Option<T>> {
    data.get(key)
        .map(|text| parse(text.trim()).map_err(|error| wrong(key, error.to_string())))
        .transpose()
}

fn wrong(key: &str, why: String) -> Error {
    Error::Bundle { key: key.into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> BTreeMap<String, String> {
        OperatorBundle::generate("home", UnixTime(1_700_000_000)).unwrap().to_data()
    }

    fn refused(data: &BTreeMap<String, String>) -> String {
        OperatorBundle::from_data(data).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_reads_back_equal() {
        let written = data();
        assert_eq!(OperatorBundle::from_data(&written).unwrap().to_data(), written);
    }

    #[test]
    fn the_identity_seeds_may_be_kept_offline() {
        let mut data = data();
        data.remove(data::OPERATOR_SEED);
        data.remove(data::SYSTEM_SEED);
        data.remove(data::SYSTEM_SIGNING_SEED);
        assert_eq!(OperatorBundle::from_data(&data).unwrap().to_data(), data);
    }

    #[test]
    fn parts_of_two_operators_are_refused_and_named() {
        let other = data();
        for key in [data::OPERATOR_SIGNING_SEED, data::SYSTEM_JWT, data::SYSTEM_CREDS] {
            let mut mixed = data();
            mixed.insert(key.into(), other[key].clone());
            assert!(refused(&mixed).contains(key), "{}", refused(&mixed));
        }
    }

    #[test]
    fn a_missing_or_damaged_part_is_named_and_no_seed_is_shown() {
        for key in [data::OPERATOR_JWT, data::SYSTEM_JWT, data::SYSTEM_CREDS] {
            let mut lacking = data();
            lacking.remove(key);
            assert!(refused(&lacking).contains(key));
        }
        let mut damaged = data();
        let seed = damaged[data::OPERATOR_SIGNING_SEED].clone();
        damaged.insert(data::OPERATOR_SIGNING_SEED.into(), seed[..57].into());
        assert!(!refused(&damaged).contains(&seed[..20]));
    }

    #[test]
    fn a_strict_operator_needs_a_signing_seed() {
        let mut data = data();
        data.remove(data::OPERATOR_SIGNING_SEED);
        assert!(refused(&data).contains("no signing key"));
    }

    #[test]
    fn no_seed_in_debug() {
        let data = data();
        let shown = format!("{:?}", OperatorBundle::from_data(&data).unwrap());
        for (key, value) in data.iter().filter(|(key, _)| key.contains("seed")) {
            assert!(!shown.contains(value.as_str()), "{key}");
        }
        assert!(!shown.contains("BEGIN USER NKEY SEED"));
    }
}
