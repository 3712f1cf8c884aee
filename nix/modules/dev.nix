# The machine on which a Domain is worked at: the tools to look at what the others serve.
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
  cfg = config.cim.dev;
in
{
  options.cim.dev = {
    enable = mkEnableOption "the tools for work on the Domain";
    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.kubectl ]";
      description = "Further tools.";
    };
  };

  config = mkIf cfg.enable {
    environment.systemPackages = [
      pkgs.dnsutils
      pkgs.git
      pkgs.natscli
    ]
    ++ cfg.packages;
    # What is built here can be looked at by flake.
    nix.settings.experimental-features = [
      "nix-command"
      "flakes"
    ];
  };
}
