{
  description = "A small Domain";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    cim = {
      # Where you have cim-controller from.
      url = "git+https://git.example.com/cim-controller";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    # A service that lives in a repository of its own is one more input, and is given below as
    # `services.<name> = inputs.<name>`. Its hash is in flake.lock.
  };

  outputs =
    {
      self,
      nixpkgs,
      cim,
    }:
    cim.lib.outputs {
      inherit nixpkgs;
      # Who is where. A controller that knows the Domain gives its own instead.
      inventory = import ./inventory.nix;
      # Each machine's own part: its hardware, its disks.
      machines = {
        host1 = ./machines/host1.nix;
        host2 = ./machines/host2.nix;
        host3 = ./machines/host3.nix;
      };
      # How each service is installed where it plays a role.
      services = {
        web = import ./services/web.nix;
      };
      # What all machines have.
      modules = [
        cim.nixosModules.deploy-target
        cim.nixosModules.dns
        ./common.nix
      ];
    };
}
