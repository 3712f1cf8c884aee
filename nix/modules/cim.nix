# What every machine of a Domain has: its place, the roles that it plays, the closures of its services.
{ config, lib, ... }:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.cim;
in
{
  options.cim = {
    machine = mkOption {
      type = types.attrsOf types.anything;
      readOnly = true;
      description = ''
        The machine as the inventory describes it: `name`, `label`, `cluster`, `domain`, `addresses`,
        `labels`, `interfaces`, `virtualHosts`, `host`, `source`. Set by the library.
      '';
    };
    roles = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "api.vault.core.example.com" ];
      description = "The long names of the roles that this machine plays. Set by the library.";
    };
    closures = mkOption {
      type = types.attrsOf types.package;
      default = { };
      example = lib.literalExpression "{ vault = pkgs.vault; }";
      description = ''
        What each service on this machine runs, by the name `service.closure` of its definition.
        A promotion compares these between clusters: what was approved in one is, path by path, what
        runs in the other, although the machines differ.
      '';
    };
  };

  config = {
    networking.hostName = mkDefault cfg.machine.label;
    networking.domain = mkDefault cfg.machine.cluster;
  };
}
