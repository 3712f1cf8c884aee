//! Names become keys, roles become scopes, consent becomes activations.

use std::collections::BTreeMap;

use super::keys::AccountKeys;
use super::spec::{Account, AccountExport, AccountImport, Importers};
use crate::error::{Error, Result};
use crate::jwt::{
    AccountBody, ActivationBody, Claims, Export, ExportKind, Import, JetStreamLimits, NO_LIMIT,
    ScopeKind, SigningKey, Token, UserScope,
};
use crate::name::AccountName;
use crate::subject::Subject;
use crate::time::UnixTime;

/// Claims for each account, unsigned. One account's mistake is refused with the field that is wrong
/// and does not touch the others.
///
/// What a server would refuse, or accept and then ignore, is refused here: overlapping exports,
/// imports of what is not exported, limits that contradict each other.
pub fn compile(
    accounts: &[(&Account, &AccountKeys)],
) -> BTreeMap<AccountName, Result<Claims<AccountBody>>> {
    accounts
        .iter()
        .map(|(account, keys)| {
            let twins = accounts.iter().filter(|(other, _)| other.name == account.name).count();
            let claims = if twins == 1 {
                Compiler { account, keys, all: accounts }.claims()
            } else {
                Err(refuse(account, "name", format!("{twins} accounts have it; it must be unique")))
            };
            (account.name.clone(), claims)
        })
        .collect()
}

struct Compiler<'a> {
    account: &'a Account,
    keys: &'a AccountKeys,
    all: &'a [(&'a Account, &'a AccountKeys)],
}

impl Compiler<'_> {
    fn claims(&self) -> Result<Claims<AccountBody>> {
        let account = self.account;
        check_limits(account)?;
        check_exports(account)?;
        let body = AccountBody {
            exports: account.exports.iter().map(export).collect(),
            imports: self.imports()?,
            signing_keys: self.signing_keys()?,
            revocations: account
                .revocations
                .iter()
                .map(|(user, before)| (user.to_string(), *before))
                .collect(),
            description: account.description.clone(),
            ..AccountBody::new(account.limits.clone())
        };
        Ok(Claims::new(account.name.as_str(), self.keys.account(), body))
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let plain = SigningKey::Plain(self.keys.signing().public());
        let scoped = self.account.roles.iter().map(|(role, access)| {
            let key = self.keys.role(role).ok_or_else(|| {
                self.refuse(format!("roles[{role}]"), "it has no signing key yet".into())
            })?;
            Ok(SigningKey::Scoped(Box::new(UserScope {
                kind: ScopeKind::User,
                key: key.public(),
                role: role.to_string(),
                description: String::new(),
                template: access.template(),
            })))
        });
        std::iter::once(Ok(plain)).chain(scoped).collect()
    }

    fn imports(&self) -> Result<Vec<Import>> {
        let limit = self.account.limits.imports;
        if over(self.account.imports.len(), limit) {
            let why = format!("{} of them, limits.imports is {limit}", self.account.imports.len());
            return Err(self.refuse("imports", why));
        }
        self.account
            .imports
            .iter()
            .enumerate()
            .map(|(index, import)| self.import(&format!("imports[{index}]"), import))
            .collect()
    }

    fn import(&self, field: &str, import: &AccountImport) -> Result<Import> {
        let (exporter, keys) = self.exporter(field, import)?;
        let export = exporter
            .exports
            .iter()
            .find(|export| export.kind == import.kind && export.subject.contains(&import.subject))
            .ok_or_else(|| {
                let why = format!(
                    "account {} exports no {} that contains {}",
                    exporter.name,
                    kind(import.kind),
                    import.subject
                );
                self.refuse(format!("{field}.subject"), why)
            })?;
        check_local_subject(import)
            .map_err(|why| self.refuse(format!("{field}.localSubject"), why))?;
        if import.share && import.kind == ExportKind::Stream {
            return Err(self.refuse(format!("{field}.share"), "only a service has it".into()));
        }
        Ok(Import {
            name: import.name.clone(),
            subject: import.subject.to_string(),
            account: keys.account(),
            token: self.activation(field, export, import, keys)?,
            local_subject: import
                .local_subject
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            kind: import.kind,
            share: import.share,
            allow_trace: false,
        })
    }

    fn exporter(&self, field: &str, import: &AccountImport) -> Result<(&Account, &AccountKeys)> {
        if import.from == self.account.name {
            return Err(
                self.refuse(format!("{field}.from"), "an account cannot import from itself".into())
            );
        }
        self.all
            .iter()
            .find(|(other, _)| other.name == import.from)
            .map(|(other, keys)| (*other, *keys))
            .ok_or_else(|| {
                let why = format!("there is no account {}", import.from);
                self.refuse(format!("{field}.from"), why)
            })
    }

    /// The exporter's consent, where the export wants it given by name; else nothing.
    fn activation(
        &self,
        field: &str,
        export: &AccountExport,
        import: &AccountImport,
        exporter: &AccountKeys,
    ) -> Result<String> {
        let Importers::Only(importers) = &export.importers else { return Ok(String::new()) };
        if !importers.contains(&self.account.name) {
            let why = format!(
                "account {} exports {} to named importers only, and {} is none of them",
                import.from, export.subject, self.account.name
            );
            return Err(self.refuse(field, why));
        }
        let body = ActivationBody {
            subject: import.subject.to_string(),
            kind: import.kind,
            issuer_account: Some(exporter.account()),
        };
        let claims = Claims::new(import.name.as_str(), self.keys.account(), body);
        // It works only inside a JWT that the operator has signed, so it needs no time of its own,
        // and equal consent is an equal token. (0 would count as revoked.)
        Ok(Token::sign(claims, UnixTime(1), exporter.signing())?.as_str().to_owned())
    }

    fn refuse(&self, field: impl AsRef<str>, why: String) -> Error {
        refuse(self.account, field, why)
    }
}

fn refuse(account: &Account, field: impl AsRef<str>, why: String) -> Error {
    Error::Desired { field: format!("account {}, {}", account.name, field.as_ref()), why }
}

fn export(export: &AccountExport) -> Export {
    Export {
        token_req: matches!(export.importers, Importers::Only(_)),
        response_type: export.response,
        account_token_position: export.account_token_position.unwrap_or_default(),
        ..Export::new(export.kind, export.name.as_str(), export.subject.as_str())
    }
}

fn check_limits(account: &Account) -> Result<()> {
    let limits = &account.limits;
    if !limits.tiers.is_empty() && limits.jetstream != JetStreamLimits::default() {
        let why = "JetStream limits are either for all or by tier, not both".into();
        return Err(refuse(account, "limits.tiers", why));
    }
    if limits.tiers.contains_key("") {
        return Err(refuse(account, "limits.tiers", "a tier has no name; use R1, R3".into()));
    }
    let core = [
        ("subs", limits.subs),
        ("data", limits.data),
        ("payload", limits.payload),
        ("imports", limits.imports),
        ("exports", limits.exports),
        ("conn", limits.conn),
        ("leaf", limits.leaf),
    ];
    match core.into_iter().find(|(_, limit)| *limit < NO_LIMIT) {
        Some((name, limit)) => {
            let why = format!("{limit}; wanted -1 (unlimited), 0 (none) or more");
            Err(refuse(account, format!("limits.{name}"), why))
        }
        None => Ok(()),
    }
}

fn check_exports(account: &Account) -> Result<()> {
    let (exports, limits) = (&account.exports, &account.limits);
    if over(exports.len(), limits.exports) {
        let why = format!("{} of them, limits.exports is {}", exports.len(), limits.exports);
        return Err(refuse(account, "exports", why));
    }
    for (index, export) in exports.iter().enumerate() {
        let refuse =
            |field: &str, why| Err(refuse(account, format!("exports[{index}].{field}"), why));
        let subject = &export.subject;
        if limits.exports != NO_LIMIT && !limits.wildcards && subject.has_wildcards() {
            return refuse(
                "subject",
                format!("{subject} has wildcards, limits.wildcards is false"),
            );
        }
        if export.response.is_some() && export.kind == ExportKind::Stream {
            return refuse("response", "only a service has responses".into());
        }
        if let Some(position) = export.account_token_position
            && position.checked_sub(1).and_then(|n| subject.tokens().nth(n as usize)) != Some("*")
        {
            let why = format!("token {position} of {subject} is not \"*\"");
            return refuse("accountTokenPosition", why);
        }
        let twin = exports[..index]
            .iter()
            .filter(|other| other.kind == export.kind)
            .find(|other| subject.contains(&other.subject) || other.subject.contains(subject));
        if let Some(twin) = twin {
            return refuse(
                "subject",
                format!("{subject} overlaps {}, also exported", twin.subject),
            );
        }
    }
    Ok(())
}

/// The rules of the Go library for `local_subject`.
fn check_local_subject(import: &AccountImport) -> Result<(), String> {
    let (Some(local), from) = (&import.local_subject, &import.subject) else { return Ok(()) };
    let ends_open = |subject: &Subject| subject.tokens().last() == Some(">");
    if ends_open(local) != ends_open(from) {
        return Err(format!("{local} and {from} must both end in '>' or neither"));
    }
    let stars = from.tokens().filter(|token| *token == "*").count();
    let mut references = 0;
    for token in local.tokens() {
        let number = token.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        if number.is_some_and(|number| number > stars) {
            return Err(format!("{token} refers to a '*' that {from} does not have"));
        }
        references += usize::from(number.is_some() || token == "*");
    }
    if references == stars {
        return Ok(());
    }
    Err(format!("{local} has {references} of '*' and $n, {from} has {stars} of '*'"))
}

/// Whether that many are more than the limit allows.
fn over(count: usize, limit: i64) -> bool {
    limit != NO_LIMIT && i64::try_from(count).unwrap_or(i64::MAX) > limit
}

const fn kind(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::Stream => "stream",
        ExportKind::Service => "service",
    }
}
