//! Names become keys, roles become scopes, consent becomes activations.

use std::collections::BTreeMap;

use super::check::{check_access, check_exports, check_limits, check_local_subject, over, refuse};
use super::keys::AccountKeys;
use super::spec::{Account, AccountExport, AccountImport, Exporter, Importers};
use crate::error::{Error, Result};
use crate::jwt::{
    AccountBody, ActivationBody, Claims, Export, ExportKind, Import, ScopeKind, SigningKey, Token,
    UserScope,
};
use crate::name::AccountName;
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
            default_permissions: account.default_permissions.clone(),
            description: account.description.clone(),
            ..AccountBody::new(account.limits.clone())
        };
        Ok(Claims::new(account.name.as_str(), self.keys.account(), body))
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let plain = SigningKey::Plain(self.keys.signing().public());
        let scoped = self.account.roles.iter().map(|(role, access)| {
            check_access(self.account, role, access)?;
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
        check_local_subject(import)
            .map_err(|why| self.refuse(format!("{field}.localSubject"), why))?;
        if import.share && import.kind == ExportKind::Stream {
            return Err(self.refuse(format!("{field}.share"), "only a service has it".into()));
        }
        let (account, token) = match &import.from {
            Exporter::Foreign(key) => (key.clone(), String::new()),
            Exporter::Named(name) => {
                let (exporter, keys) = self.exporter(field, name)?;
                let export = self.export(field, exporter, import)?;
                (keys.account(), self.activation(field, export, exporter, keys, import)?)
            }
        };
        let local_subject = import.local_subject.as_ref().map(ToString::to_string);
        Ok(Import {
            name: import.name.clone(),
            subject: import.subject.to_string(),
            account,
            token,
            local_subject: local_subject.unwrap_or_default(),
            kind: import.kind,
            share: import.share,
            allow_trace: false,
        })
    }

    fn exporter(&self, field: &str, name: &AccountName) -> Result<(&Account, &AccountKeys)> {
        let refuse = |why| Err(self.refuse(format!("{field}.account"), why));
        if *name == self.account.name {
            return refuse("an account cannot import from itself".into());
        }
        match self.all.iter().find(|(other, _)| other.name == *name) {
            Some((other, keys)) => Ok((*other, *keys)),
            None => refuse(format!("there is no account {name}")),
        }
    }

    fn export<'e>(
        &self,
        field: &str,
        exporter: &'e Account,
        import: &AccountImport,
    ) -> Result<&'e AccountExport> {
        let (kind, subject) = (kind(import.kind), &import.subject);
        exporter
            .exports
            .iter()
            .find(|export| export.kind == import.kind && export.subject.contains(subject))
            .ok_or_else(|| {
                let why =
                    format!("account {} exports no {kind} that contains {subject}", exporter.name);
                self.refuse(format!("{field}.subject"), why)
            })
    }

    /// The exporter's consent, where the export wants it to be shown; else nothing.
    fn activation(
        &self,
        field: &str,
        export: &AccountExport,
        exporter: &Account,
        keys: &AccountKeys,
        import: &AccountImport,
    ) -> Result<String> {
        match &export.importers {
            Importers::Any => return Ok(String::new()),
            Importers::Only(importers) if !importers.contains(&self.account.name) => {
                let why = format!(
                    "account {} exports {} to named importers only, and {} is none of them",
                    exporter.name, export.subject, self.account.name
                );
                return Err(self.refuse(field, why));
            }
            Importers::Together | Importers::Only(_) => {}
        }
        let body = ActivationBody {
            subject: import.subject.to_string(),
            kind: import.kind,
            issuer_account: Some(keys.account()),
        };
        let claims = Claims::new(import.name.as_str(), self.keys.account(), body);
        // It works only inside a JWT that the operator has signed, so it needs no time of its own,
        // and equal consent is an equal token. (0 would count as revoked.)
        Ok(Token::sign(claims, UnixTime(1), keys.signing())?.as_str().to_owned())
    }

    fn refuse(&self, field: impl AsRef<str>, why: String) -> Error {
        refuse(self.account, field, why)
    }
}

fn export(export: &AccountExport) -> Export {
    Export {
        token_req: export.importers != Importers::Any,
        response_type: export.response,
        account_token_position: export.account_token_position.unwrap_or_default(),
        ..Export::new(export.kind, export.name.as_str(), export.subject.as_str())
    }
}

const fn kind(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::Stream => "stream",
        ExportKind::Service => "service",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::account::{Access, Inbox};
    use crate::jwt::{AccountLimits, ResponseType};

    fn name(name: &str) -> AccountName {
        name.parse().unwrap()
    }

    fn export(kind: ExportKind, subject: &str) -> AccountExport {
        AccountExport {
            name: subject.into(),
            subject: subject.parse().unwrap(),
            kind,
            response: None,
            account_token_position: None,
            importers: Importers::Any,
        }
    }

    fn import(from: &str, subject: &str) -> AccountImport {
        AccountImport {
            name: subject.into(),
            from: Exporter::Named(name(from)),
            subject: subject.parse().unwrap(),
            local_subject: None,
            kind: ExportKind::Stream,
            share: false,
        }
    }

    /// `comms` exports streams, `web` imports one.
    fn pair() -> (Account, Account) {
        let mut comms = Account::new(name("comms"), AccountLimits::unlimited());
        comms.exports = vec![export(ExportKind::Stream, "evt.*.>")];
        let mut web = Account::new(name("web"), AccountLimits::unlimited());
        web.imports = vec![import("comms", "evt.vault.>")];
        (comms, web)
    }

    fn compiled(
        comms: &Account,
        web: &Account,
    ) -> BTreeMap<AccountName, Result<Claims<AccountBody>>> {
        let mut keys = [AccountKeys::generate().unwrap(), AccountKeys::generate().unwrap()];
        keys[0].set_roles(comms.roles.keys()).unwrap();
        compile(&[(comms, &keys[0]), (web, &keys[1])])
    }

    /// The refusal of one account; the other must not be touched by it.
    fn refused(change: impl FnOnce(&mut Account, &mut Account), account: &str) -> String {
        let (mut comms, mut web) = pair();
        change(&mut comms, &mut web);
        let compiled = compiled(&comms, &web);
        let (good, bad): (Vec<_>, Vec<_>) = compiled.into_iter().partition(|(_, c)| c.is_ok());
        assert_eq!((good.len(), bad.len()), (1, 1));
        let (name, error) = bad.into_iter().next().unwrap();
        assert_eq!(name.as_str(), account);
        error.unwrap_err().to_string()
    }

    #[test]
    fn each_mistake_is_refused_with_its_field_and_spares_the_other_account() {
        type Mistake = fn(&mut Account, &mut Account);
        let mistakes: [(Mistake, &str, &str); 11] = [
            (
                |c, _| c.exports.push(export(ExportKind::Stream, "evt.a.b")),
                "comms",
                "exports[1].subject",
            ),
            (
                |c, _| c.exports[0].response = Some(ResponseType::Stream),
                "comms",
                "exports[0].response",
            ),
            (|c, _| c.exports[0].account_token_position = Some(1), "comms", "accountTokenPosition"),
            (|c, _| c.exports[0].account_token_position = Some(9), "comms", "accountTokenPosition"),
            (|c, _| c.limits.exports = 0, "comms", "limits.exports is 0"),
            (|c, _| c.limits.conn = -2, "comms", "limits.conn"),
            (|_, w| w.imports.push(import("nobody", "a")), "web", "there is no account nobody"),
            (|_, w| w.imports.push(import("web", "a")), "web", "imports[1].account"),
            (|_, w| w.imports.push(import("comms", "cmd.a")), "web", "imports[1].subject"),
            (|_, w| w.imports[0].kind = ExportKind::Service, "web", "exports no service"),
            (|_, w| w.imports[0].share = true, "web", "imports[0].share"),
        ];
        for (mistake, account, says) in mistakes {
            let error = refused(mistake, account);
            assert!(error.contains(says) && error.contains(account), "{error}");
        }
    }

    #[test]
    fn two_accounts_of_one_name_are_both_refused() {
        let (comms, mut web) = pair();
        web.name = name("comms");
        let compiled = compiled(&comms, &web);
        assert_eq!(compiled.len(), 1);
        assert!(compiled[&name("comms")].is_err());
    }

    #[test]
    fn a_closed_export_gives_an_activation_to_whom_it_names_only() {
        let (mut comms, web) = pair();
        comms.exports[0].importers = Importers::Only(BTreeSet::from([name("web")]));
        let claims = compiled(&comms, &web).remove(&name("web")).unwrap().unwrap();
        let token: Token<ActivationBody> = Token::decode(&claims.nats.imports[0].token).unwrap();
        assert_eq!(token.claims().sub, claims.sub);
        let error =
            refused(|c, _| c.exports[0].importers = Importers::Only(BTreeSet::new()), "web");
        assert!(error.contains("named importers only"), "{error}");
    }

    #[test]
    fn a_private_inbox_and_a_queue_group_exclude_each_other() {
        let error = refused(
            |comms, _| {
                let access = Access {
                    inbox: Inbox::Private,
                    subscribe: vec!["a.> workers".parse().unwrap()],
                    ..Access::default()
                };
                comms.roles.insert("vault.api".parse().unwrap(), access);
            },
            "comms",
        );
        assert!(error.contains("roles[vault.api].subscribe"), "{error}");
    }

    #[test]
    fn a_role_without_a_key_is_refused() {
        let (mut comms, web) = pair();
        comms.roles.insert("vault.api".parse().unwrap(), Access::default());
        let keys = [AccountKeys::generate().unwrap(), AccountKeys::generate().unwrap()];
        let compiled = compile(&[(&comms, &keys[0]), (&web, &keys[1])]);
        let error = compiled[&name("comms")].as_ref().unwrap_err().to_string();
        assert!(error.contains("roles[vault.api]"), "{error}");
    }
}
