//! From the checks of a spec to what can be made: the keys of accounts and the certificates of
//! authorities are read.

use cim_crds::Domain;
use cim_crds::machine::activation::{Check as CheckSpec, HttpCheck, NatsCheck, Scheme, TcpCheck};
use cim_nats::Asker;
use cim_nats::account::AccountKeys;
use kube::ResourceExt;

use super::request::{Expected, Request};
use super::tls::Authorities;
use super::{Check, Probe};
use crate::domain::account_secret;
use crate::kube::{ApiError, Kube};
use crate::secret::{SecretData, SecretError};

/// The key of a Secret that holds certificates, as in Secrets of type `kubernetes.io/tls`.
const CA: &str = "ca.crt";

/// What the checks of one object are resolved by.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    /// Reads Secrets.
    pub(crate) kube: &'a Kube,
    /// Where they are.
    pub(crate) namespace: &'a str,
    /// The Domain, whose accounts and servers are meant; `None` if it does not exist.
    pub(crate) domain: Option<&'a Domain>,
    /// The account of requests that name none.
    pub(crate) account: Option<&'a str>,
}

/// Why a check cannot be made.
enum Lack {
    /// Something is missing or wrong.
    Of(String),
    /// It could not be read.
    Api(ApiError),
}

impl From<SecretError> for Lack {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Api(error) => Self::Api(error),
            other => Self::Of(other.to_string()),
        }
    }
}

impl Resolver<'_> {
    /// Each of `checks`, in their order. What is missing for one makes that one impossible; the error
    /// is that Secrets could not be read.
    pub(crate) async fn resolve(&self, checks: &[CheckSpec]) -> Result<Vec<Check>, ApiError> {
        let mut resolved = Vec::with_capacity(checks.len());
        for check in checks {
            resolved.push(match check {
                CheckSpec::Tcp(TcpCheck { port, timeout }) => {
                    Check::Probe(Probe::Tcp { port: *port, timeout: timeout.as_std() })
                }
                CheckSpec::Http(http) => self.http(http).await?,
                CheckSpec::Nats(nats) => self.request(nats).await?,
                CheckSpec::Command(command) => Check::Command(command.clone()),
            });
        }
        Ok(resolved)
    }

    async fn http(&self, check: &HttpCheck) -> Result<Check, ApiError> {
        let probe = |tls| Probe::Http {
            port: check.port,
            path: check.path.clone(),
            host: check.host.clone(),
            status: check.status,
            tls,
            timeout: check.timeout.as_std(),
        };
        let authorities = match (check.scheme, &check.ca_secret_ref) {
            (Scheme::Http, _) => return Ok(Check::Probe(probe(None))),
            (Scheme::Https, None) => Authorities::System,
            (Scheme::Https, Some(reference)) => match self.authorities(&reference.name).await {
                Ok(authorities) => authorities,
                Err(lack) => {
                    return impossible(probe(Some(Authorities::System)).to_string(), lack);
                }
            },
        };
        Ok(Check::Probe(probe(Some(authorities))))
    }

    async fn authorities(&self, secret: &str) -> Result<Authorities, Lack> {
        let field = "caSecretRef";
        let secret = SecretData::require(self.kube, self.namespace, secret, field).await?;
        Ok(Authorities::parse(secret.text(CA)?).map_err(|why| secret.invalid(why))?)
    }

    async fn request(&self, check: &NatsCheck) -> Result<Check, ApiError> {
        let what = || format!("NATS request {}", check.subject);
        match self.asked(check).await {
            Ok(request) => Ok(Check::Request(Box::new(request))),
            Err(lack) => impossible(what(), lack),
        }
    }

    async fn asked(&self, check: &NatsCheck) -> Result<Request, Lack> {
        let lack = |why: String| Lack::Of(why);
        let account = check.account.as_deref().or(self.account);
        let account = account.ok_or_else(|| lack("it names no account".to_owned()))?;
        let domain = self.domain.ok_or_else(|| lack("its Domain does not exist".to_owned()))?;
        let name = domain.name_any();
        let declared = domain
            .spec
            .nats
            .as_ref()
            .filter(|nats| nats.accounts.iter().any(|declared| declared.name == account));
        let Some(nats) = declared else {
            return Err(lack(format!(
                "Domain {name} has no account {account}; declare it in its spec.nats.accounts"
            )));
        };
        let secret = account_secret(&name, account);
        let found =
            SecretData::find(self.kube, self.namespace, &secret).await.map_err(Lack::Api)?;
        let Some(secret) = found else {
            return Err(lack(format!("Domain {name} has not made the keys of {account} yet")));
        };
        let keys = AccountKeys::from_data(&secret.texts()?);
        let keys = keys.map_err(|error| secret.invalid(error))?;
        let subject = check.subject.parse();
        Ok(Request {
            account: account.to_owned(),
            asker: Asker {
                servers: nats.servers.clone(),
                account: keys.account(),
                signing: keys.signing().clone(),
            },
            subject: subject.map_err(|why: cim_nats::InvalidSubject| lack(why.to_string()))?,
            payload: check.payload.clone().unwrap_or_default(),
            expected: match (&check.reply_contains, &check.reply_equals) {
                (_, Some(all)) => Expected::Equals(all.clone()),
                (Some(part), None) => Expected::Contains(part.clone()),
                (None, None) => Expected::Any,
            },
            timeout: check.timeout.as_std(),
        })
    }
}

fn impossible(what: String, lack: Lack) -> Result<Check, ApiError> {
    match lack {
        Lack::Of(why) => Ok(Check::Impossible { what, why }),
        Lack::Api(error) => Err(error),
    }
}
