//! What a server would refuse, or take and then ignore.

use super::access::{Access, Inbox};
use super::spec::{Account, AccountImport};
use crate::error::{Error, Result};
use crate::jwt::{ExportKind, JetStreamLimits, NO_LIMIT};
use crate::name::RoleName;
use crate::subject::Subject;

/// The refusal of one field of an account.
pub(super) fn refuse(account: &Account, field: impl AsRef<str>, why: String) -> Error {
    Error::Desired { field: format!("account {}, {}", account.name, field.as_ref()), why }
}

pub(super) fn check_limits(account: &Account) -> Result<()> {
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

pub(super) fn check_exports(account: &Account) -> Result<()> {
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

/// A permission for one queue group is lost in a list that has a template as well: nats-server takes
/// the space in it for a mistake of the template (`server/auth.go`, processUserPermissionsTemplate).
pub(super) fn check_access(account: &Account, role: &RoleName, access: &Access) -> Result<()> {
    match access.subscribe.iter().find(|listen| listen.queue.is_some()) {
        Some(listen) if access.inbox == Inbox::Private => {
            let why = format!(
                "a role with a private inbox cannot be limited to a queue group; \
                 give it the subject of \"{listen}\" alone, or a shared inbox"
            );
            Err(refuse(account, format!("roles[{role}].subscribe"), why))
        }
        _ => Ok(()),
    }
}

/// The rules of the Go library for `local_subject`.
pub(super) fn check_local_subject(import: &AccountImport) -> Result<(), String> {
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
pub(super) fn over(count: usize, limit: i64) -> bool {
    limit != NO_LIMIT && i64::try_from(count).unwrap_or(i64::MAX) > limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Exporter;

    #[test]
    fn a_local_subject_must_take_over_all_wildcards() {
        let local = |from: &str, to: &str| {
            check_local_subject(&AccountImport {
                name: String::new(),
                from: Exporter::Named("comms".parse().unwrap()),
                subject: from.parse().unwrap(),
                local_subject: Some(to.parse().unwrap()),
                kind: ExportKind::Stream,
                share: false,
            })
        };
        assert!(local("a.*.>", "b.$1.>").is_ok());
        assert!(local("a.*.*", "b.$2.$1").is_ok());
        assert!(local("a.*", "b.*").is_ok());
        for (from, to) in [("a.>", "b"), ("a.*", "b"), ("a.*", "b.$2"), ("a.b", "b.$1")] {
            assert!(local(from, to).is_err(), "{from} → {to}");
        }
    }
}
