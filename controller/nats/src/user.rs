//! Users: who they are in the token, what they may in the scope of the key that signed it.

use crate::creds::Creds;
use crate::error::{Error, Result};
use crate::jwt::{Claims, Permissions, Template, Token, UserBody};
use crate::keys::{AccountKey, AccountSeed, UserSeed};
use crate::time::UnixTime;

/// Longest user JWT in bytes. A client sends it within one line of at most 4096 (`max_control_line`),
/// and the rest of that line needs its room.
pub const MAX_USER_JWT: usize = 3584;

/// Credentials of a user whose permissions are those of `role_key`'s scope in the account.
///
/// The token says who, not what: changed permissions reach it without new credentials.
pub fn scoped_user(
    account: &AccountKey,
    role_key: &AccountSeed,
    name: &str,
    user: UserSeed,
    issued: UnixTime,
    expires: Option<UnixTime>,
) -> Result<Creds> {
    mint(account, role_key, name, user, None, (issued, expires))
}

/// Credentials of a user that carries its own permissions; `signing` is an unscoped signing key.
pub fn plain_user(
    account: &AccountKey,
    signing: &AccountSeed,
    name: &str,
    user: UserSeed,
    permissions: Permissions,
    issued: UnixTime,
    expires: Option<UnixTime>,
) -> Result<Creds> {
    let own = Some(Template::unlimited(permissions));
    mint(account, signing, name, user, own, (issued, expires))
}

fn mint(
    account: &AccountKey,
    signing: &AccountSeed,
    name: &str,
    user: UserSeed,
    own: Option<Template>,
    (issued, expires): (UnixTime, Option<UnixTime>),
) -> Result<Creds> {
    let body = UserBody { own, issuer_account: Some(account.clone()), tags: Vec::new() };
    let claims = Claims { exp: expires, ..Claims::new(name, user.public(), body) };
    let token = Token::sign(claims, issued, signing)?;
    let length = token.as_str().len();
    if length > MAX_USER_JWT {
        let why = format!(
            "the JWT of user {name} has {length} bytes, a server takes at most {MAX_USER_JWT}; \
             put the permissions into a role"
        );
        return Err(Error::Desired { field: format!("user {name}"), why });
    }
    Creds::new(token, user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_no_server_would_admit_is_refused_before_it_is_one() {
        let (account, signing) =
            (AccountSeed::generate().unwrap().public(), AccountSeed::generate().unwrap());
        let mint = |patterns: usize| {
            let mut permissions = Permissions::default();
            permissions.r#pub.allow =
                (0..patterns).map(|n| format!("evt.some.subject.{n}")).collect();
            let seed = UserSeed::generate().unwrap();
            plain_user(&account, &signing, "ctl", seed, permissions, UnixTime(1), None)
        };
        assert!(mint(50).is_ok());
        let error = mint(200).unwrap_err().to_string();
        assert!(error.contains("user ctl") && error.contains("3584"), "{error}");
    }

    #[test]
    fn a_scoped_user_carries_no_permission_at_all() {
        let (account, role) =
            (AccountSeed::generate().unwrap().public(), AccountSeed::generate().unwrap());
        let seed = UserSeed::generate().unwrap();
        let creds = scoped_user(&account, &role, "vault", seed, UnixTime(1), None).unwrap();
        let payload = creds.user().as_str().split('.').nth(1).unwrap();
        let payload = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let fields: Vec<_> = claims["nats"].as_object().unwrap().keys().collect();
        assert_eq!(fields, ["issuer_account", "type", "version"]);
    }
}
