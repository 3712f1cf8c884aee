//! The NATS account of the Domain as its owner uses it, with the keys that the controller made.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::jetstream;
use base64::{Engine, engine::general_purpose::STANDARD};
use cim_nats::{
    UnixTime, account::AccountKeys, jetstream::AccountClient, jwt::Permissions, keys::UserSeed,
    plain_user, system::Deadlines,
};
use cim_objects::{
    Attributes, Cid, Limits, Store, StoreId, Verdict, put_bytes,
    store::jetstream::{Bucket, JetStreamStore},
    verify,
};

use super::Home;
use crate::lab::{LabError, Result};

/// The stores of `examples/home/cluster.yaml`, each with its bucket.
pub const STORES: [(&str, &str); 3] = [("a", "CAS-a"), ("b", "CAS-b"), ("c", "CAS-c")];

/// The Secret that the controller keeps the account's keys in.
const KEYS: &str = "example-com-nats-comms";
const LIFE: Duration = Duration::from_hours(1);
const REQUEST: Duration = Duration::from_secs(10);
const CONTENT: &str = "An object of the demo: immutable, known by the hash of these words.\n";

/// A user that may do everything in the account.
#[derive(Clone)]
pub struct Account {
    keys: AccountKeys,
    context: jetstream::Context,
}

impl Account {
    pub(super) async fn open(home: &Home) -> Result<Self> {
        let keys = AccountKeys::from_data(&data(home, KEYS).await?);
        let keys = keys.map_err(|error| unexpected("the account's keys", &error))?;
        let now = UnixTime::from(SystemTime::now());
        let expires = Some(now.plus(LIFE));
        let seed = UserSeed::generate().map_err(|error| unexpected("a new user", &error))?;
        let everything = Permissions::default();
        let user =
            plain_user(&keys.account(), keys.signing(), "owner", seed, everything, now, expires)
                .map_err(|error| unexpected("a new user", &error))?;
        let servers = home.lab().nats()?.urls();
        let client = AccountClient::connect(&servers, &user, "owner", Deadlines::default())
            .await
            .map_err(|error| unexpected("the login as the account's owner", &error))?;
        Ok(Self { keys, context: client.context(None) })
    }

    /// The account's keys.
    pub fn keys(&self) -> &AccountKeys {
        &self.keys
    }

    /// A client of the account's owner.
    pub fn client(&self) -> async_nats::Client {
        self.context.client()
    }

    /// The stores in the order of [`STORES`].
    pub fn stores(&self) -> Result<Vec<Arc<dyn Store>>> {
        let store = |(id, bucket): (&str, &str)| {
            let bucket: cim_objects::store::jetstream::BucketName = parse(bucket)?;
            let id: StoreId = parse(id)?;
            let context = self.context.clone();
            let store = JetStreamStore::new(id, context, Bucket::new(bucket), REQUEST);
            Ok(Arc::new(store) as Arc<dyn Store>)
        };
        STORES.into_iter().map(store).collect()
    }

    /// Puts the demo's object into the first store, unless it is there; its name.
    pub async fn put(&self) -> Result<Cid> {
        let stores = self.stores()?;
        let attributes = Attributes::new().named("demo.txt");
        let entry = put_bytes(&*stores[0], &attributes, CONTENT.into(), &Limits::default()).await;
        Ok(entry.map_err(|error| unexpected("the store", &error))?.cid)
    }

    /// The stores whose copy has the bytes that its name says, read and hashed here and now; for
    /// the others why not.
    pub async fn verified(&self, cid: &Cid) -> Result<Vec<(String, Result<(), String>)>> {
        let mut found = Vec::new();
        for store in self.stores()? {
            let verdict = match verify(&*store, cid, &Limits::default(), &|_| {}).await {
                Verdict::Verified(_) => Ok(()),
                Verdict::Corrupt { why, .. } => Err(why),
                Verdict::Missing => Err("there is none".into()),
                Verdict::Unknown(error) => Err(error.to_string()),
            };
            found.push((store.id().to_string(), verdict));
        }
        Ok(found)
    }

    /// Exchanges the bytes of the only object in `bucket`, as a bad disk would: its description
    /// stays what it was.
    pub async fn damage(&self, bucket: &str) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| unexpected("the bucket", error);
        let stream = self.context.get_stream(format!("OBJ_{bucket}")).await;
        let stream = stream.map_err(|error| failed(&error))?;
        let chunks = format!("$O.{bucket}.C.>");
        let chunk = stream.get_last_raw_message_by_subject(&chunks).await;
        let chunk = chunk.map_err(|error| failed(&error))?;
        let mut bytes = chunk.payload.to_vec();
        if let Some(first) = bytes.first_mut() {
            *first ^= 1;
        }
        let sent = self.context.publish(chunk.subject.clone(), bytes.into()).await;
        sent.map_err(|error| failed(&error))?.await.map_err(|error| failed(&error))?;
        stream.delete_message(chunk.sequence).await.map_err(|error| failed(&error))?;
        Ok(())
    }
}

/// The data of a Secret, as text.
pub async fn data(home: &Home, secret: &str) -> Result<BTreeMap<String, String>> {
    let object = home.kubectl().get("secret", home.estate().namespace, secret).await?;
    let data = object["data"].as_object().into_iter().flatten();
    data.map(|(key, value)| {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| unexpected(secret, &format!("{key} is no text")))?;
        Ok((key.clone(), text))
    })
    .collect()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| unexpected(text, &error))
}

fn unexpected(what: &str, why: &dyn std::fmt::Display) -> LabError {
    LabError::Unexpected { what: what.into(), why: why.to_string() }
}
