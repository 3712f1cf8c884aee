# The Domain's names: Knot, which the controller updates (RFC 2136) with a TSIG key, and unbound, which
# answers the machine's own programs and asks Knot about the Domain.
{ config, lib, ... }:
let
  inherit (lib)
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    types
    ;
  cfg = config.cim.dns;
  primary = cfg.primary;
  resolver = cfg.resolver;

  # What is reverse must not be looked up in the public tree, and private addresses have no signatures.
  isReverse = zone: lib.hasSuffix ".in-addr.arpa" zone || lib.hasSuffix ".ip6.arpa" zone;
in
{
  options.cim.dns = {
    primary = {
      enable = mkEnableOption "the primary name server of the Domain's zones on this machine";
      listen = mkOption {
        type = types.listOf types.str;
        default = map (address: "${address}@53") config.cim.machine.addresses;
        defaultText = lib.literalExpression "the machine's addresses, port 53";
        example = [ "10.0.0.53@53" ];
        description = "Addresses and ports. Not 127.0.0.1@53 beside the resolver of this machine.";
      };
      zones = mkOption {
        type = types.listOf types.str;
        example = [
          "example.com"
          "0.0.10.in-addr.arpa"
        ];
        description = ''
          The zones. Each begins with the SOA and NS records of a file of this name that is made once
          in `/var/lib/knot/zones`; from then on the controller owns what it writes there.
        '';
      };
      nameserver = mkOption {
        type = types.str;
        default = config.cim.machine.name;
        defaultText = lib.literalExpression "config.cim.machine.name";
        description = "The host name in the first SOA and NS records of a new zone, without final dot.";
      };
      keyName = mkOption {
        type = types.str;
        default = "cim";
        description = "The id of the TSIG key in `keyFile`.";
      };
      keyFile = mkOption {
        type = types.str;
        example = "/run/secrets/knot/tsig.conf";
        description = ''
          A file with Knot's section `key:`, readable by the user knot, whose key the controller has in
          `tsigSecretRef`. A path on the machine, not in the Nix store. `keymgr -t cim` makes one.
        '';
      };
    };
    resolver = {
      enable = mkEnableOption "unbound as the resolver of this machine";
      servers = mkOption {
        type = types.listOf types.str;
        example = [ "10.0.0.53" ];
        description = "The addresses of the primary, `address` or `address@port`.";
      };
      zones = mkOption {
        type = types.listOf types.str;
        example = [ "example.com" ];
        description = "The zones about which the primary is asked; all others are looked up as usual.";
      };
      forwarders = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "9.9.9.9" ];
        description = "Resolvers that are asked about everything else. None: the root servers.";
      };
    };
  };

  config = mkMerge [
    (mkIf primary.enable {
      services.knot = {
        enable = true;
        keyFiles = [ primary.keyFile ];
        settings = {
          server.listen = primary.listen;
          log.syslog.any = "info";
          acl.cim = {
            key = primary.keyName;
            action = [
              "update"
              "transfer"
            ];
          };
          template.default = {
            storage = "/var/lib/knot/zones";
            file = "%s.zone";
            acl = [ "cim" ];
          };
          zone = lib.genAttrs primary.zones (_: { });
        };
      };
      systemd.services.knot.preStart = ''
        mkdir -p /var/lib/knot/zones
        ${lib.concatMapStringsSep "\n" (zone: ''
          if [ ! -e /var/lib/knot/zones/${zone}.zone ]; then
            printf '%s\n' '$ORIGIN ${zone}.' '$TTL 300' \
              '@ SOA ${primary.nameserver}. hostmaster.${primary.nameserver}. 1 3600 600 86400 60' \
              '@ NS ${primary.nameserver}.' > /var/lib/knot/zones/${zone}.zone
          fi'') primary.zones}
      '';
    })
    (mkIf resolver.enable {
      services.unbound = {
        enable = true;
        # What this machine's programs ask goes to 127.0.0.1.
        resolveLocalQueries = true;
        settings = {
          server = {
            interface = [
              "127.0.0.1"
              "::1"
            ];
            access-control = [
              "127.0.0.0/8 allow"
              "::1/128 allow"
            ];
            # The Domain's names have private addresses and, unless they are signed, no proof.
            private-domain = map (zone: "${zone}.") resolver.zones;
            domain-insecure = map (zone: "${zone}.") resolver.zones;
            local-zone = map (zone: "\"${zone}.\" nodefault") (builtins.filter isReverse resolver.zones);
          };
          stub-zone = map (zone: {
            name = "${zone}.";
            stub-addr = resolver.servers;
          }) resolver.zones;
          forward-zone = lib.optional (resolver.forwarders != [ ]) {
            name = ".";
            forward-addr = resolver.forwarders;
          };
        };
      };
    })
  ];
}
