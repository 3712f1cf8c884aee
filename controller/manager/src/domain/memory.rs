//! What the reconciler of Domains remembers between visits. All of it may be lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_nats::UnixTime;
use cim_nats::keys::AccountKey;
use cim_nats::system::SystemClient;
use tokio::time::Instant;

/// After this time a zone is transferred whole, whatever its serial: somebody may have edited a zone
/// file without raising it.
const TRANSFER_AT_LEAST: Duration = Duration::from_hours(1);

/// A zone, and when it was transferred.
type KnownZone = (Arc<cim_dns::Observed>, Instant);

/// What is remembered.
#[derive(Default)]
pub(super) struct Memory {
    zones: Mutex<HashMap<(String, String), KnownZone>>,
    clients: Mutex<HashMap<String, (String, SystemClient)>>,
    issued: Mutex<HashMap<String, BTreeMap<AccountKey, UnixTime>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// The zone as it was transferred last, unless that was long ago.
    pub(super) fn zone(&self, domain: &str, zone: &str) -> Option<Arc<cim_dns::Observed>> {
        let key = (domain.to_owned(), zone.to_owned());
        let zones = lock(&self.zones);
        let (observed, at) = zones.get(&key)?;
        (at.elapsed() < TRANSFER_AT_LEAST).then(|| Arc::clone(observed))
    }

    /// Remembers a zone. What is remembered already keeps its time.
    pub(super) fn keep_zone(&self, domain: &str, zone: &str, observed: &Arc<cim_dns::Observed>) {
        let key = (domain.to_owned(), zone.to_owned());
        let mut zones = lock(&self.zones);
        if !zones.get(&key).is_some_and(|(known, _)| Arc::ptr_eq(known, observed)) {
            zones.insert(key, (Arc::clone(observed), Instant::now()));
        }
    }

    /// The connection of a Domain, if it was made for the same servers and operator.
    pub(super) fn client(&self, domain: &str, made_for: &str) -> Option<SystemClient> {
        let clients = lock(&self.clients);
        let (of, client) = clients.get(domain)?;
        (of == made_for).then(|| client.clone())
    }

    /// Remembers a connection.
    pub(super) fn keep_client(&self, domain: &str, made_for: String, client: SystemClient) {
        lock(&self.clients).insert(domain.to_owned(), (made_for, client));
    }

    /// Drops a connection that did not serve.
    pub(super) fn drop_client(&self, domain: &str) {
        lock(&self.clients).remove(domain);
    }

    /// When each account was issued last, as far as this process knows.
    pub(super) fn issued(&self, domain: &str) -> BTreeMap<AccountKey, UnixTime> {
        lock(&self.issued).get(domain).cloned().unwrap_or_default()
    }

    /// Remembers when accounts were issued.
    pub(super) fn keep_issued(&self, domain: &str, issued: BTreeMap<AccountKey, UnixTime>) {
        lock(&self.issued).entry(domain.to_owned()).or_default().extend(issued);
    }
}
