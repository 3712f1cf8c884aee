//! The creds file: user JWT and seed in one text, as every NATS client reads it.

use std::fmt::{self, Debug};

use crate::error::{Error, Result};
use crate::jwt::{Token, UserBody};
use crate::keys::UserSeed;

const JWT_BEGIN: &str = "-----BEGIN NATS USER JWT-----";
const JWT_END: &str = "------END NATS USER JWT------";
const SEED_BEGIN: &str = "-----BEGIN USER NKEY SEED-----";
const SEED_END: &str = "------END USER NKEY SEED------";

/// Credentials of one user. `Debug` shows who, never the seed.
#[derive(Clone)]
pub struct Creds {
    user: Token<UserBody>,
    seed: UserSeed,
}

impl Creds {
    /// Joins a token and its seed; refused unless they are of the same user.
    pub fn new(user: Token<UserBody>, seed: UserSeed) -> Result<Self> {
        let (subject, public) = (&user.claims().sub, seed.public());
        if *subject != public {
            let why = format!("it is of user {subject}, the seed of {public}");
            return Err(Error::Token { wanted: "user", why });
        }
        Ok(Self { user, seed })
    }

    /// Parses a creds file. Text around the two blocks is ignored, as all clients do.
    pub fn parse(text: &str) -> Result<Self> {
        let jwt = block(text, JWT_BEGIN, JWT_END)
            .ok_or_else(|| missing("user", JWT_BEGIN))
            .and_then(Token::decode)?;
        let seed = block(text, SEED_BEGIN, SEED_END).ok_or_else(|| missing("user", SEED_BEGIN))?;
        Self::new(jwt, UserSeed::parse(seed)?)
    }

    /// The text of the creds file. A secret.
    pub fn reveal(&self) -> String {
        let (jwt, seed) = (self.user.as_str(), self.seed.reveal());
        format!(
            "{JWT_BEGIN}\n{jwt}\n{JWT_END}\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\
             NKEYs are sensitive and should be treated as secrets.\n\n\
             {SEED_BEGIN}\n{seed}\n{SEED_END}\n\n\
             *************************************************************\n"
        )
    }

    /// The user's token.
    pub fn user(&self) -> &Token<UserBody> {
        &self.user
    }

    /// The user's seed, to issue a new token for the same user.
    pub fn seed(&self) -> &UserSeed {
        &self.seed
    }
}

impl Debug for Creds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creds").field("user", &self.user).finish_non_exhaustive()
    }
}

fn block<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(content, _)| content.trim())
}

fn missing(wanted: &'static str, marker: &str) -> Error {
    Error::Token { wanted, why: format!("the creds have no block {marker:?}") }
}
