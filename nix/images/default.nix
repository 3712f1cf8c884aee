# Images by which a machine gets its first system: docs/guide/first-install.md.
#
# Of nixpkgs only `system.build.images.<variant>` is used (from 25.05 on), always that of the user's own
# nixpkgs, so that an image is the machine's configuration and nothing else.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    listToAttrs
    map
    unsafeDiscardStringContext
    ;

  deployTarget = ../modules/deploy-target.nix;

  # An image that deliveries could not reach after its first boot would be good for nothing.
  delivered =
    configuration:
    configuration.extendModules {
      modules = [
        deployTarget
        { cim.deployTarget.enable = true; }
      ];
    };

  nameOf = configuration: configuration.config.networking.hostName or "machine";

  variantOf =
    configuration: variant:
    let
      images =
        configuration.config.system.build.images
          or (throw "cim: this nixpkgs has no system.build.images: 25.05 is the first that has");
      known = concatStringsSep ", " (attrNames images);
    in
    images.${variant}
      or (throw "cim: ${nameOf configuration} has no image variant ${variant}; nixpkgs has ${known}");

  # What a boot by network loads, in a directory named by the toplevel's store path, for any server of
  # files: whoever boots `<url>/<name>/netboot.ipxe` boots exactly that store path.
  netbootOf =
    pkgs: config:
    let
      inherit (config.system.build) kernel netbootRamdisk toplevel;
      kernelFile = config.system.boot.loader.kernelFile;
      name = unsafeDiscardStringContext (baseNameOf "${toplevel}");
      # Relative addresses: iPXE takes them from where it got the script.
      script = ''
        #!ipxe
        kernel kernel init=${toplevel}/init initrd=initrd ${toString config.boot.kernelParams} ''${cmdline}
        initrd initrd
        boot
      '';
    in
    pkgs.linkFarm "netboot" [
      {
        name = "${name}/kernel";
        path = "${kernel}/${kernelFile}";
      }
      {
        name = "${name}/initrd";
        path = "${netbootRamdisk}/initrd";
      }
      {
        name = "${name}/netboot.ipxe";
        path = pkgs.writeText "netboot.ipxe" script;
      }
    ];
in
{
  # Clouds, hypervisors and disks that are written elsewhere. Azure wants its image: a kexec there
  # does not come back.
  variants = [
    "azure"
    "digital-ocean"
    "proxmox"
    "raw-efi"
  ];

  # A machine's own system as an image: `ofMachine nixosConfigurations.host1 "azure"`.
  ofMachine = configuration: variantOf (delivered configuration);

  # Several variants of several machines, as packages of a flake: `host1-azure`.
  ofMachines =
    configurations: variants:
    listToAttrs (
      builtins.concatMap (
        machine:
        let
          image = variantOf (delivered configurations.${machine});
        in
        map (variant: {
          name = "${machine}-${variant}";
          value = image variant;
        }) variants
      ) (attrNames configurations)
    );

  # A machine that has no disk of its own, and boots its system by network each time.
  # Not the variant `kexec`: that one logs root in on the console, as an installer may.
  diskless =
    configuration:
    let
      diskless = (delivered configuration).extendModules {
        modules = [
          (
            { modulesPath, ... }:
            {
              imports = [ (modulesPath + "/installer/netboot/netboot.nix") ];
            }
          )
        ];
      };
    in
    netbootOf diskless.pkgs diskless.config;

  # The installer, into which the controller may log in as root: as an ISO, and to be booted by network.
  # The one to be booted by kexec is that of nixos-images, which keeps addresses and host keys.
  installer =
    {
      # The user's nixpkgs: a flake, or whatever has `lib.nixosSystem`.
      nixpkgs,
      # As Nix names it: `x86_64-linux`.
      system,
      # Public SSH keys of the controller.
      sshKeys,
      # NixOS modules: drivers, a network without DHCP.
      modules ? [ ],
    }:
    let
      configuration = nixpkgs.lib.nixosSystem {
        modules = [
          ./installer.nix
          {
            nixpkgs.hostPlatform = system;
            cim.installer = { inherit sshKeys; };
          }
        ]
        ++ modules;
      };
    in
    {
      iso = variantOf configuration "iso-installer";
      netboot = netbootOf configuration.pkgs (variantOf configuration "kexec").passthru.config;
    };
}
