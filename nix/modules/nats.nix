# A nats-server: one of the Domain's own, in operator mode with the account resolver, or the leaf node
# of a machine, so that its programs talk to localhost.
#
# Not by services.nats of NixOS: its settings become JSON, in which nothing can be included, and what
# names the operator is a file that the controller writes.
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
    mkPackageOption
    optional
    optionalAttrs
    types
    ;
  cfg = config.cim.nats;
  unit = "cim-nats";
  credentials = "/run/credentials/${unit}.service";
  remoteCredentials = index: "leaf-${toString index}.creds";
  remotes = lib.imap0 (index: remote: {
    inherit remote index;
  }) cfg.leaf.remotes;

  remote =
    { remote, index }:
    {
      inherit (remote) urls;
    }
    // optionalAttrs (remote.credentialsFile != null) {
      credentials = "${credentials}/${remoteCredentials index}";
    }
    // optionalAttrs (remote.account != null) { inherit (remote) account; };

  # The keys are written bare and the values as JSON, which the language of nats-server contains.
  settings = {
    server_name = cfg.serverName;
    server_tags = cfg.tags;
    listen = cfg.listen;
  }
  // optionalAttrs (cfg.monitor != null) { http = cfg.monitor; }
  // optionalAttrs cfg.jetstream.enable {
    jetstream = {
      store_dir = "/var/lib/${unit}/jetstream";
      max_memory_store = cfg.jetstream.maxMemory;
      max_file_store = cfg.jetstream.maxFile;
    }
    // optionalAttrs (cfg.jetstream.domain != null) { inherit (cfg.jetstream) domain; };
  }
  // optionalAttrs (cfg.cluster.routes != [ ]) {
    cluster = { inherit (cfg.cluster) name listen routes; };
  }
  // optionalAttrs (cfg.leaf.listen != null || cfg.leaf.remotes != [ ]) {
    leafnodes =
      optionalAttrs (cfg.leaf.listen != null) { inherit (cfg.leaf) listen; }
      // optionalAttrs (cfg.leaf.remotes != [ ]) { remotes = map remote remotes; };
  };

  lines = lib.mapAttrsToList (key: value: "${key}: ${builtins.toJSON value}") settings;
  # An include is looked up from the directory of the file that has it.
  trust = optional (cfg.resolverFile != null) "include '../..${credentials}/resolver.conf'";
in
{
  options.cim.nats = {
    enable = mkEnableOption "a nats-server of the Domain on this machine";
    package = mkPackageOption pkgs "nats-server" { };
    serverName = mkOption {
      type = types.str;
      default = config.cim.machine.label;
      defaultText = lib.literalExpression "config.cim.machine.label";
      description = "Its name, unique among all servers that hear of each other.";
    };
    tags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "node:a" ];
      description = "What streams and object stores are placed by.";
    };
    listen = mkOption {
      type = types.str;
      default = "127.0.0.1:4222";
      description = ''
        Address and port for clients. Programs on this machine need no other than the default; whoever
        opens it to others should have `resolverFile`, since without it nobody is asked who he is.
      '';
    };
    monitor = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "127.0.0.1:8222";
      description = "Address and port of the monitoring endpoints (HTTP, open to whoever reaches it).";
    };
    resolverFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/nats/resolver.conf";
      description = ''
        The part of the configuration that names the operator, the system account and the resolver:
        `resolver.conf` of the Secret to which `Domain.spec.nats.operatorSecretRef` points. With it the
        server obeys the Domain's accounts. A path on the machine, not in the Nix store.
      '';
    };
    resolverDir = mkOption {
      type = types.str;
      default = "/data/resolver";
      description = "The directory that `resolverFile` names for the accounts' JWTs; made if it is missing.";
    };
    jetstream = {
      enable = mkEnableOption "JetStream: streams, key-value and object stores";
      maxMemory = mkOption {
        type = types.int;
        default = 256 * 1024 * 1024;
        description = "Bytes of memory for streams.";
      };
      maxFile = mkOption {
        type = types.int;
        default = 10 * 1024 * 1024 * 1024;
        description = "Bytes of disk for streams.";
      };
      domain = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "The JetStream domain, which a leaf node with JetStream of its own needs.";
      };
    };
    cluster = {
      name = mkOption {
        type = types.str;
        default = "core";
        description = "The name of the NATS cluster, the same on all its servers.";
      };
      listen = mkOption {
        type = types.str;
        default = "0.0.0.0:6222";
        description = "Address and port for the other servers.";
      };
      routes = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "nats://10.0.0.5:6222" ];
        description = "The other servers. None: the server is alone.";
      };
    };
    leaf = {
      listen = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "0.0.0.0:7422";
        description = "Address and port for leaf nodes, on a server of the Domain.";
      };
      remotes = mkOption {
        type = types.listOf (
          types.submodule {
            options = {
              urls = mkOption {
                type = types.listOf types.str;
                example = [ "nats-leaf://10.0.0.4:7422" ];
                description = "Servers that accept leaf nodes; one of them is used.";
              };
              credentialsFile = mkOption {
                type = types.nullOr types.str;
                default = null;
                example = "/run/secrets/nats/leaf.creds";
                description = "Credentials of a user there. A path on the machine, not in the Nix store.";
              };
              account = mkOption {
                type = types.nullOr types.str;
                default = null;
                description = ''
                  The public key of the account on this side, which a server in operator mode needs.
                '';
              };
            };
          }
        );
        default = [ ];
        description = "Where this server is a leaf node.";
      };
    };
  };

  config = mkIf cfg.enable {
    users.groups.nats = { };
    users.users.nats = {
      isSystemUser = true;
      group = "nats";
      description = "nats-server";
    };

    environment.etc."cim/nats.conf".text = lib.concatLines (lines ++ trust);

    systemd.tmpfiles.rules = optional (
      cfg.resolverFile != null
    ) "d ${cfg.resolverDir} 0700 nats nats -";

    systemd.services.${unit} = {
      description = "NATS of the Domain";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      restartTriggers = [ config.environment.etc."cim/nats.conf".text ];
      serviceConfig = {
        ExecStart = "${cfg.package}/bin/nats-server --config /etc/cim/nats.conf";
        ExecReload = "/bin/sh -c 'kill -HUP $MAINPID'";
        # It stops accepting, lets clients go elsewhere, and ends.
        KillSignal = "SIGUSR2";
        TimeoutStopSec = 150;
        Restart = "on-failure";
        RestartSec = 2;
        User = "nats";
        Group = "nats";
        StateDirectory = unit;
        StateDirectoryMode = "0700";
        # Read by systemd as root, seen by this unit only.
        LoadCredential =
          optional (cfg.resolverFile != null) "resolver.conf:${cfg.resolverFile}"
          ++ lib.concatMap (
            { remote, index }:
            optional (remote.credentialsFile != null) "${remoteCredentials index}:${remote.credentialsFile}"
          ) remotes;
        LimitNOFILE = 65536;
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectSystem = "strict";
        ReadWritePaths = optional (cfg.resolverFile != null) cfg.resolverDir;
        ProtectHome = true;
        CapabilityBoundingSet = "";
      };
    };
  };
}
