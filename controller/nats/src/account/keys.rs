//! The seeds of an account, made once and kept in a Secret.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::keys::{AccountKey, AccountSeed};
use crate::name::RoleName;

const IDENTITY: &str = "account.seed";
const SIGNING: &str = "signing.seed";
const ROLE: (&str, &str) = ("role.", ".seed");

/// Identity, one unscoped signing key for the controller's own access, one scoped key per role.
///
/// Possession of the identity seed is what makes an account ours.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    identity: AccountSeed,
    signing: AccountSeed,
    roles: BTreeMap<RoleName, AccountSeed>,
}

impl AccountKeys {
    /// New keys, without any role.
    pub fn generate() -> Result<Self> {
        let (identity, signing) = (AccountSeed::generate()?, AccountSeed::generate()?);
        Ok(Self { identity, signing, roles: BTreeMap::new() })
    }

    /// Reads what [`Self::to_data`] wrote. Other keys of the data are ignored.
    pub fn from_data(data: &BTreeMap<String, String>) -> Result<Self> {
        let wrong = |key: &str, why: String| Error::Bundle { key: key.into(), why };
        let seed = |key: &str, text: &str| {
            AccountSeed::parse(text).map_err(|error| wrong(key, error.to_string()))
        };
        let required = |key: &str| {
            let text = data.get(key).ok_or_else(|| wrong(key, "missing".into()))?;
            seed(key, text)
        };
        let roles = data
            .iter()
            .filter_map(|(key, text)| {
                let role = key.strip_prefix(ROLE.0)?.strip_suffix(ROLE.1)?;
                Some((key, role, text))
            })
            .map(|(key, role, text)| {
                let role = role.parse().map_err(|error: Error| wrong(key, error.to_string()))?;
                Ok((role, seed(key, text)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { identity: required(IDENTITY)?, signing: required(SIGNING)?, roles })
    }

    /// The seeds as data of a Secret.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        let roles = self
            .roles
            .iter()
            .map(|(role, seed)| (format!("{}{role}{}", ROLE.0, ROLE.1), seed.reveal().to_owned()));
        [(IDENTITY, &self.identity), (SIGNING, &self.signing)]
            .into_iter()
            .map(|(key, seed)| (key.to_owned(), seed.reveal().to_owned()))
            .chain(roles)
            .collect()
    }

    /// The account.
    pub fn account(&self) -> AccountKey {
        self.identity.public()
    }

    /// Signs users with permissions of their own, and activations.
    pub fn signing(&self) -> &AccountSeed {
        &self.signing
    }

    /// Signs the users of a role, if it has a key already.
    pub fn role(&self, role: &RoleName) -> Option<&AccountSeed> {
        self.roles.get(role)
    }

    /// Has exactly these roles have keys: new ones get one, those of roles that are gone are dropped,
    /// which refuses their users once the account is pushed. Whether anything changed: the keys must
    /// then be stored **before** they are used.
    pub fn set_roles<'r>(&mut self, roles: impl IntoIterator<Item = &'r RoleName>) -> Result<bool> {
        let mut wanted = BTreeMap::new();
        let mut changed = false;
        for role in roles {
            let seed = if let Some(seed) = self.roles.remove(role) {
                seed
            } else {
                changed = true;
                AccountSeed::generate()?
            };
            wanted.insert(role.clone(), seed);
        }
        changed |= !self.roles.is_empty();
        self.roles = wanted;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_outlive_the_secret_and_roles_keep_theirs() {
        let role = |name: &str| name.parse::<RoleName>().unwrap();
        let mut keys = AccountKeys::generate().unwrap();
        assert!(keys.set_roles([&role("vault.api"), &role("web")]).unwrap());
        let mut read = AccountKeys::from_data(&keys.to_data()).unwrap();
        assert_eq!(read.to_data(), keys.to_data());
        assert!(!read.set_roles([&role("vault.api"), &role("web")]).unwrap());
        assert!(read.set_roles([&role("web")]).unwrap());
        assert!(read.role(&role("vault.api")).is_none());
        let key = |keys: &AccountKeys| keys.role(&role("web")).unwrap().public();
        assert_eq!(key(&read), key(&keys));
    }

    #[test]
    fn a_damaged_secret_is_named_and_not_shown() {
        let keys = AccountKeys::generate().unwrap();
        let mut data = keys.to_data();
        data.remove(SIGNING);
        assert!(AccountKeys::from_data(&data).unwrap_err().to_string().contains(SIGNING));
        let mut data = keys.to_data();
        let seed = data[IDENTITY].clone();
        data.insert(IDENTITY.into(), format!("{seed}x"));
        let error = AccountKeys::from_data(&data).unwrap_err().to_string();
        assert!(error.contains(IDENTITY) && !error.contains(&seed[..20]), "{error}");
    }
}
