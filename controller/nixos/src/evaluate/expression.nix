# Evaluates the machines of one flake: a pure function of the flake's locked URL, the inventory's
# hash and the configurations wanted. What is not in `machines` is about the flake as a whole.
#
# The inventory is too long for a command line. It comes as standard input, a file without a name,
# and its hash in `inventory` makes reading it pure. Nix keeps it in the store under that hash, so
# the name must differ with the content: downloads are remembered by URL and name.
{
  url,
  names,
  inventory,
}:
let
  flake = builtins.getFlake url;
  described = builtins.fromJSON (
    builtins.readFile (
      builtins.fetchurl {
        url = "file:///proc/self/fd/0";
        name = "inventory-${inventory.hex}.json";
        sha256 = inventory.hash;
      }
    )
  );
  takesInventory = inventory != null && flake ? cimConfigurations;
  configurations =
    if takesInventory then flake.cimConfigurations described else flake.nixosConfigurations or { };
  pathsOf =
    name:
    let
      inherit (configurations.${name}) config;
      toplevel = config.system.build.toplevel;
      paths = {
        status = "evaluated";
        toplevel = {
          derivation = toplevel.drvPath;
          closure = toplevel.outPath;
        };
        # A derivation or the path of one.
        services = builtins.mapAttrs (_: service: "${service}") (config.cim.closures or { });
      };
    in
    builtins.deepSeq paths paths;
  evaluate =
    name:
    if configurations ? ${name} then
      let
        # Catches throw and assert. What it does not catch ends the evaluation, and the caller
        # asks again for fewer machines.
        result = builtins.tryEval (pathsOf name);
      in
      if result.success then result.value else { status = "caught"; }
    else
      { status = "unknown"; };
in
{
  answer = {
    inherit (flake) rev narHash;
    inherit takesInventory;
    available = builtins.attrNames configurations;
    machines = builtins.listToAttrs (
      map (name: {
        inherit name;
        value = evaluate name;
      }) names
    );
  };
  # Ends in the error that `evaluate` catches, so that Nix prints its message.
  uncaught = map pathsOf names;
}
