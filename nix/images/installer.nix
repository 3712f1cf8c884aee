# An installer that the controller may log in to, as root and with its key alone.
{ config, lib, ... }:
let
  inherit (lib)
    mkDefault
    mkForce
    mkOption
    types
    ;
  cfg = config.cim.installer;
in
{
  options.cim.installer.sshKeys = mkOption {
    type = types.listOf types.str;
    example = [ "ssh-ed25519 AAAA… cim-controller" ];
    description = "Public SSH keys of the controller, as in `authorized_keys`.";
  };

  config = {
    assertions = [
      {
        assertion = cfg.sshKeys != [ ];
        message = "cim.installer.sshKeys is empty: nobody could log in to this installer";
      }
    ];

    # By this the controller knows that the disks are free.
    system.nixos.variant_id = mkForce "installer";
    networking.hostName = mkDefault "installer";
    users.users.root.openssh.authorizedKeys.keys = cfg.sshKeys;
    services.openssh = {
      enable = true;
      settings.PermitRootLogin = mkForce "prohibit-password";
      settings.PasswordAuthentication = mkForce false;
    };
    nix.settings.experimental-features = [ "nix-command" ];
  };
}
