//! The ssh_config(5) of one machine. Everything is said here and nothing on the command line, so
//! that `nix copy` and we cannot differ; and no other configuration is read (`ssh -F`).

use std::path::Path;

use super::target::Target;

/// The name by which every machine is called in its own configuration. The real address is in
/// messages, not in arguments.
pub(super) const ALIAS: &str = "machine";

/// The options of every connection of ours, to machines, builders and git servers alike: only pinned
/// keys are known, only the key at hand is offered, nobody is asked, nothing is forwarded, and a peer
/// that is gone is noticed within 15 s, however silent the work.
pub(crate) const STRICT: &str = "  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  VerifyHostKeyDNS no
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  BatchMode yes
  ConnectTimeout 10
  ConnectionAttempts 1
  ServerAliveInterval 5
  ServerAliveCountMax 3
  ForwardAgent no
  ForwardX11 no
  RequestTTY no
  LogLevel ERROR
";

pub(super) fn known_hosts(target: &Target) -> String {
    target
        .host_keys
        .iter()
        .fold(String::new(), |lines, key| lines + ALIAS + " " + &key.to_string() + "\n")
}

pub(super) fn ssh_config(target: &Target, dir: &Path) -> String {
    let dir = dir.display();
    let (address, port, user) = (target.address.for_config(), target.port, &target.user);
    format!(
        "\
Host {ALIAS}
  HostName {address}
  Port {port}
  User {user}
  HostKeyAlias {ALIAS}
  UserKnownHostsFile {dir}/known_hosts
  IdentityFile {dir}/key
  ControlMaster auto
  ControlPath {dir}/m
  ControlPersist 120
  EscapeChar none
{STRICT}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_key_is_a_line_under_the_alias() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkOxZ6Wm1ibn0JvQ4e1QQ0gzyQzPGmZg0gq0nO1l2dB";
        let target = Target {
            address: "fe80::1%eth0".parse().unwrap(),
            port: 2222,
            user: "deploy".parse().unwrap(),
            key: "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----"
                .parse()
                .unwrap(),
            host_keys: vec![key.parse().unwrap(); 2],
        };
        assert_eq!(known_hosts(&target), format!("machine {key}\nmachine {key}\n"));
        let config = ssh_config(&target, Path::new("/run/cim/h1"));
        assert!(config.contains("HostName fe80::1%%eth0\n"), "{config}");
        assert!(!config.contains("PRIVATE KEY"), "{config}");
    }
}
