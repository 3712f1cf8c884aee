# What a machine needs to be delivered to: controller/nixos/host/README.md says why.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.cim.deployTarget;

  # Where sudo finds the helper in the PATH of an SSH session.
  helper = "/run/current-system/sw/bin/cim-activate";
  activate = pkgs.writeTextFile {
    name = "cim-activate";
    destination = "/bin/cim-activate";
    executable = true;
    text = builtins.readFile ../../controller/nixos/host/cim-activate;
  };
in
{
  options.cim.deployTarget = {
    enable = mkEnableOption "deliveries by cim-controller to this machine";
    user = mkOption {
      type = types.str;
      default = "deploy";
      description = ''
        The unprivileged user as whom the controller logs in: `Machine.spec.ssh.user`. It may start
        `cim-activate` as root and nothing else.
      '';
    };
    sshKeys = mkOption {
      type = types.listOf types.str;
      example = [ "ssh-ed25519 AAAA… cim-controller" ];
      description = "Public SSH keys of the controller, as in `authorized_keys`.";
    };
    deliveryKeys = mkOption {
      type = types.listOf types.str;
      example = [ "cim-1:0S9…=" ];
      description = ''
        Public keys by one of which a closure must be signed to be activated here, as in
        `trusted-public-keys` of Nix. Several while a key is replaced.
      '';
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.sshKeys != [ ];
        message = "cim.deployTarget.sshKeys is empty: the controller could never log in again";
      }
      {
        assertion = cfg.deliveryKeys != [ ];
        message = "cim.deployTarget.deliveryKeys is empty: no closure could be activated any more";
      }
      {
        assertion = !builtins.elem cfg.user (config.nix.settings.trusted-users or [ ]);
        message = "cim.deployTarget.user is in nix.settings.trusted-users: it could import what nobody signed";
      }
    ];

    services.openssh.enable = true;

    users.groups.${cfg.user} = { };
    users.users.${cfg.user} = {
      isNormalUser = true;
      description = "Deliveries by cim-controller";
      group = cfg.user;
      # No password; a locked account (`!`) would be refused by sshd without PAM.
      hashedPassword = "*";
      openssh.authorizedKeys.keys = map (key: "restrict ${key}") cfg.sshKeys;
    };

    environment.systemPackages = [
      activate
      pkgs.util-linux
    ];
    environment.etc."cim/delivery-keys".text = lib.concatLines cfg.deliveryKeys;

    # No argument patterns: cim-activate judges its arguments itself.
    security.sudo.extraRules = [
      {
        users = [ cfg.user ];
        runAs = "root";
        commands = [
          {
            command = helper;
            options = [ "NOPASSWD" ];
          }
        ];
      }
    ];
    security.sudo.extraConfig = ''
      Defaults!${helper} env_reset, !setenv, !requiretty
    '';

    nix.settings = {
      require-sigs = true;
      trusted-public-keys = cfg.deliveryKeys;
      experimental-features = [ "nix-command" ];
    };
  };
}
