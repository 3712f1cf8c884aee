# The library of cim-controller: one configuration of a whole Domain.
#
# docs/guide/cluster-config.md tells how it is used.
let
  names = import ./names;
  mkDomain = import ./domain.nix { inherit names; };
in
{
  # The hierarchy, selectors and the resolver alone, with builtins only.
  inherit names;

  # `{ nixpkgs, inventory, services, machines, modules, specialArgs, strict }` to
  # `{ nixosConfigurations, resolver, hierarchy, problems }`.
  inherit mkDomain;

  # The outputs of a flake for both ways of use: `nixosConfigurations` from the inventory that is
  # written in the flake (all or nothing), `cimConfigurations` from one that the controller gives (a
  # problem concerns only the machines that it makes uncertain), `cimProblems` likewise.
  outputs =
    arguments:
    let
      given = builtins.removeAttrs arguments [ "inventory" ];
      of = inventory: mkDomain (given // { inherit inventory; });
      written = mkDomain ({ strict = true; } // arguments);
    in
    {
      cimConfigurations = inventory: (of inventory).nixosConfigurations;
      cimProblems = inventory: (of inventory).problems;
    }
    // (if arguments ? inventory then { inherit (written) nixosConfigurations; } else { });
}
