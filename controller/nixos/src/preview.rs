//! What an activation would do, as the closure itself tells.

use serde::Serialize;

use crate::error::Error;
use crate::helper;
use crate::nix::Limits;
use crate::ssh::Host;
use crate::store_path::StorePath;

/// What `switch-to-configuration dry-activate` says that it would do to systemd's units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DryActivation {
    /// Would be stopped.
    pub stop: Vec<String>,
    /// Would be restarted.
    pub restart: Vec<String>,
    /// Would be reloaded.
    pub reload: Vec<String>,
    /// Would be started.
    pub start: Vec<String>,
    /// Have changed, and would go on as they are.
    pub not_stopped: Vec<String>,
    /// Whether systemd itself would be restarted.
    pub restarts_systemd: bool,
}

/// Asks a closure that is on the machine what its activation would do. Changes nothing.
///
/// # Errors
/// Those of SSH, [`Error::ActivationRefused`], and [`Error::CommandFailed`] when the closure cannot
/// tell.
pub async fn preview(
    host: &Host,
    closure: &StorePath,
    limits: &Limits,
) -> Result<DryActivation, Error> {
    let (outcome, said) = helper::dry_activate(host, closure, limits).await?;
    if outcome.is_success() {
        return Ok(DryActivation::parse(&said));
    }
    Err(Error::CommandFailed {
        host: host.name().to_owned(),
        command: format!("dry-activate of {closure}: {outcome}"),
        code: outcome.status(),
        stderr: said,
    })
}

impl DryActivation {
    /// Reads the standard error of `switch-to-configuration`, where it has one line for each list;
    /// other lines are the activation script's own.
    fn parse(text: &str) -> Self {
        let mut dry = Self::default();
        for line in text.lines().map(str::trim) {
            if line == "would restart systemd" {
                dry.restarts_systemd = true;
                continue;
            }
            let Some((what, units)) = line.split_once(": ") else { continue };
            let list = match what {
                "would stop the following units" => &mut dry.stop,
                "would restart the following units" => &mut dry.restart,
                "would reload the following units" => &mut dry.reload,
                "would start the following units" => &mut dry.start,
                "would NOT stop the following changed units" => &mut dry.not_stopped,
                _ => continue,
            };
            list.extend(
                units.split(", ").map(str::trim).filter(|unit| !unit.is_empty()).map(str::to_owned),
            );
        }
        for list in
            [&mut dry.stop, &mut dry.restart, &mut dry.reload, &mut dry.start, &mut dry.not_stopped]
        {
            list.sort();
            list.dedup();
        }
        dry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_has_its_place() {
        let said = "\
would stop the following units: b.service, a.service
would NOT stop the following changed units: display-manager.service
would activate the configuration...
setting up /etc...
would restart systemd
would reload the following units: dbus.service
would restart the following units: sshd.service, a.service
would start the following units: new.timer
would do: something else";
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let wanted = DryActivation {
            stop: names(&["a.service", "b.service"]),
            restart: names(&["a.service", "sshd.service"]),
            reload: names(&["dbus.service"]),
            start: names(&["new.timer"]),
            not_stopped: names(&["display-manager.service"]),
            restarts_systemd: true,
        };
        assert_eq!(DryActivation::parse(said), wanted);
        assert_eq!(DryActivation::parse(""), DryActivation::default());
    }
}
