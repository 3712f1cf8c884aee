# Evaluates every machine of the template, and builds none.
{
  self,
  nixpkgs,
  writeText,
}:
let
  outputs = (import ./template/flake.nix).outputs {
    inherit nixpkgs;
    self = { };
    cim = self;
  };
  toplevel =
    configuration:
    builtins.unsafeDiscardStringContext configuration.config.system.build.toplevel.drvPath;
in
writeText "template" (
  builtins.concatStringsSep "\n" (map toplevel (builtins.attrValues outputs.nixosConfigurations))
)
