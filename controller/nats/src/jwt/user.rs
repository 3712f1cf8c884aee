//! Claims of a user.

use serde::{Deserialize, Serialize};

use super::claims::Body;
use super::permissions::{Permissions, Template};
use crate::keys::{AccountKey, User};

/// One client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserBody {
    /// Own permissions and limits. None under a scoped signing key, which has them: the server
    /// refuses a scoped user that carries even one of its own, be it "unlimited".
    #[serde(flatten, deserialize_with = "own_template")]
    pub own: Option<Template>,
    /// The account, if a signing key of it has signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_account: Option<AccountKey>,
    /// Labels, lower case; scopes can refer to them as `{{tag(name)}}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Body for UserBody {
    const TYPE: &'static str = "user";
    type Subject = User;
    const ISSUERS: &'static [char] = &['A'];
}

/// Of a user, unlike in a scope, an absent limit is 0. All zero is the mark of a scoped user.
fn own_template<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Template>, D::Error> {
    #[derive(Deserialize)]
    struct Own {
        #[serde(flatten)]
        permissions: Permissions,
        #[serde(default)]
        subs: i64,
        #[serde(default)]
        data: i64,
        #[serde(default)]
        payload: i64,
        #[serde(default)]
        src: Vec<String>,
        #[serde(default)]
        bearer_token: bool,
        #[serde(default)]
        allowed_connection_types: Vec<String>,
    }
    let Own { permissions, subs, data, payload, src, bearer_token, allowed_connection_types } =
        Own::deserialize(d)?;
    let template =
        Template { permissions, subs, data, payload, src, bearer_token, allowed_connection_types };
    let none =
        Template { subs: 0, data: 0, payload: 0, ..Template::unlimited(Permissions::default()) };
    Ok((template != none).then_some(template))
}
