{
  description = "cim-controller: keeps a private domain true, as described in five Kubernetes resources";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      # One configuration of a whole Domain: docs/guide/cluster-config.md.
      # Images for a first system: docs/guide/first-install.md.
      lib = import ./nix/lib // {
        images = import ./nix/images;
      };
      nixosModules = import ./nix/modules;
      templates.default = {
        path = ./nix/template;
        description = "A small Domain, with or without Kubernetes";
      };

      checks = forEachSystem (pkgs: {
        template = pkgs.callPackage ./nix/check.nix { inherit self nixpkgs; };
      });

      packages = forEachSystem (pkgs: rec {
        cim-controller = pkgs.callPackage ./nix/package.nix { };
        image = pkgs.callPackage ./nix/image.nix { inherit cim-controller; };
        default = cim-controller;
      });

      devShells = forEachSystem (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      formatter = forEachSystem (pkgs: pkgs.nixfmt-rfc-style);
    };
}
