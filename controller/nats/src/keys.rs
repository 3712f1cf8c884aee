//! Typed nkeys: a public key says in its type whose it is, and a seed never shows itself.
//!
//! An nkey is an ed25519 key in base32 with a prefix for its role and a CRC-16
//! (<https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth>):
//! `O…` operator, `A…` account, `U…` user; seeds begin with `SO`, `SA`, `SU`.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::marker::PhantomData;
use std::str::FromStr;

use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// Whose key it is. Implemented by [`Operator`], [`Account`] and [`User`] only.
pub trait Role: Copy + Ord + Hash + Debug + private::Sealed + 'static {
    /// The name in messages, with its prefix letter: `operator (O…)`.
    const NAME: &'static str;
    /// The same role in the `nkeys` crate.
    const KIND: KeyPairType;
}

mod private {
    pub trait Sealed {}
}

macro_rules! role {
    ($(#[$doc:meta])* $role:ident, $name:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $role {}
        impl private::Sealed for $role {}
        impl Role for $role {
            const NAME: &'static str = $name;
            const KIND: KeyPairType = KeyPairType::$role;
        }
    };
}

role!(
    /// The trust root of a NATS system; signs accounts.
    Operator,
    "operator (O…)"
);
role!(
    /// A tenant of subjects, streams and limits; signs users.
    Account,
    "account (A…)"
);
role!(
    /// One client.
    User,
    "user (U…)"
);

/// Public key of an operator, `O…`.
pub type OperatorKey = PublicKey<Operator>;
/// Public key of an account, `A…`: also of its signing keys.
pub type AccountKey = PublicKey<Account>;
/// Public key of a user, `U…`.
pub type UserKey = PublicKey<User>;
/// Seed of an operator or of an operator signing key, `SO…`.
pub type OperatorSeed = Seed<Operator>;
/// Seed of an account or of an account signing key, `SA…`.
pub type AccountSeed = Seed<Account>;
/// Seed of a user, `SU…`.
pub type UserSeed = Seed<User>;

/// A public key of 56 characters whose prefix and checksum have been checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey<R: Role> {
    text: Box<str>,
    role: PhantomData<fn() -> R>,
}

impl<R: Role> PublicKey<R> {
    /// The encoded key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first eight characters: enough for people to tell keys apart.
    pub fn short(&self) -> &str {
        self.text.get(..8).unwrap_or(&self.text)
    }

    fn of(pair: &KeyPair) -> Self {
        Self { text: pair.public_key().into(), role: PhantomData }
    }
}

impl<R: Role> FromStr for PublicKey<R> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: String| Error::Key { wanted: R::NAME, why };
        let pair = KeyPair::from_public_key(text)
            .map_err(|error| bad(format!("{:?}: {error}", bounded(text))))?;
        if pair.key_pair_type() != R::KIND {
            return Err(bad(format!("{text} is the key of another role")));
        }
        Ok(Self::of(&pair))
    }
}

impl<R: Role> Display for PublicKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl<R: Role> Debug for PublicKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<R: Role> Serialize for PublicKey<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, R: Role> Deserialize<'de> for PublicKey<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A private key. `Debug` shows the public half; the seed leaves only by [`Seed::reveal`].
#[derive(Clone)]
pub struct Seed<R: Role> {
    pair: KeyPair,
    text: Box<str>,
    role: PhantomData<fn() -> R>,
}

impl<R: Role> Seed<R> {
    /// A new key from the system's random source.
    pub fn generate() -> Result<Self> {
        Self::new(KeyPair::new(R::KIND))
    }

    /// Parses the text form; surrounding white space, as in files, is allowed.
    ///
    /// The error never repeats the text.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| Error::Seed { wanted: R::NAME, why };
        let pair = KeyPair::from_seed(text.trim()).map_err(|error| bad(error.to_string()))?;
        if pair.key_pair_type() != R::KIND {
            return Err(bad("it is the seed of another role".into()));
        }
        Self::new(pair)
    }

    fn new(pair: KeyPair) -> Result<Self> {
        let text = pair
            .seed()
            .map_err(|error| Error::Seed { wanted: R::NAME, why: error.to_string() })?
            .into();
        Ok(Self { pair, text, role: PhantomData })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey<R> {
        PublicKey::of(&self.pair)
    }

    /// The text form, to be written into a Secret or a creds file and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The ed25519 signature over `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.pair
            .sign(message)
            .map_err(|error| Error::Seed { wanted: R::NAME, why: error.to_string() })
    }
}

impl<R: Role> Debug for Seed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed(of {})", self.public())
    }
}

/// Whether `signature` over `message` is of the public key `key`, of whatever role.
pub(crate) fn verify(key: &str, message: &[u8], signature: &[u8]) -> bool {
    KeyPair::from_public_key(key).is_ok_and(|pair| pair.verify(message, signature).is_ok())
}

/// At most 60 characters of what somebody sent, for a message.
fn bounded(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_role_is_refused_and_named() {
        let account = AccountSeed::generate().unwrap();
        let error = account.public().as_str().parse::<OperatorKey>().unwrap_err().to_string();
        assert!(error.contains("operator (O…)") && error.contains(account.public().as_str()));
        assert!(OperatorSeed::parse(account.reveal()).is_err());
        assert_eq!(AccountSeed::parse(account.reveal()).unwrap().public(), account.public());
    }

    #[test]
    fn no_seed_in_debug_nor_in_errors() {
        let seed = UserSeed::generate().unwrap();
        assert!(!format!("{seed:?}").contains(seed.reveal()));
        let mut damaged = seed.reveal().to_owned();
        damaged.replace_range(10..11, if &damaged[10..11] == "A" { "B" } else { "A" });
        let error = UserSeed::parse(&damaged).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&damaged[11..]));
        let error = AccountSeed::parse(seed.reveal()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&seed.reveal()[4..]));
    }

    #[test]
    fn a_mistyped_key_is_refused_by_its_checksum() {
        let key = UserSeed::generate().unwrap().public().to_string();
        let swapped = format!("{}{}", &key[..54], if &key[54..] == "AA" { "BB" } else { "AA" });
        assert!(swapped.parse::<UserKey>().is_err());
        assert!("".parse::<UserKey>().is_err());
    }
}
