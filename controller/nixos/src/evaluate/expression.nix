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
  # Of which configurations also what a first install takes: by name, the path of the flake's output
  # with the installer, or null.
  installs,
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
  built = drv: {
    derivation = drv.drvPath;
    closure = drv.outPath;
  };
  output = builtins.foldl' (set: name: if set == null then null else set.${name} or null) flake;
  # What is not there is null: the caller says what is missing, and the others have their closures.
  installOf =
    config: kexec:
    let
      image = if kexec == null then null else output kexec;
    in
    {
      layout =
        if config.system.build ? diskoScript then built config.system.build.diskoScript else null;
      disks = map (disk: disk.device) (builtins.attrValues (config.disko.devices.disk or { }));
      kexec = if image == null then null else built image;
    };
  pathsOf =
    name:
    let
      inherit (configurations.${name}) config;
      paths = {
        status = "evaluated";
        toplevel = built config.system.build.toplevel;
        install = if installs ? ${name} then installOf config installs.${name} else null;
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
