# Evaluates the machines of one flake. A function of the flake's locked URL and the attributes
# wanted; everything that is not in `machines` is about the flake as a whole.
url: names:
let
  flake = builtins.getFlake url;
  configurations = flake.nixosConfigurations or { };
  evaluate =
    name:
    if configurations ? ${name} then
      let
        toplevel = configurations.${name}.config.system.build.toplevel;
        paths = {
          status = "evaluated";
          derivation = toplevel.drvPath;
          closure = toplevel.outPath;
        };
        # Catches throw and assert. What it does not catch ends the evaluation, and the caller
        # asks again for fewer machines.
        result = builtins.tryEval (builtins.deepSeq paths paths);
      in
      if result.success then result.value else { status = "caught"; }
    else
      { status = "unknown"; };
in
{
  inherit (flake) rev narHash;
  available = builtins.attrNames configurations;
  machines = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = evaluate name;
    }) names
  );
}
