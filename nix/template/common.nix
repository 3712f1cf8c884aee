# What all machines have. `machine` is how the inventory describes this one.
{ lib, machine, ... }:
{
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
  system.stateVersion = "26.05";

  # The addresses that the inventory gives it.
  networking.useDHCP = false;
  networking.interfaces = builtins.mapAttrs (_: interface: {
    ipv4.addresses = map (address: {
      inherit (address) address prefixLength;
    }) (builtins.filter (address: address.family == "ipv4") interface.addresses);
  }) machine.interfaces;

  # Let a controller deliver to these machines:
  # cim.deployTarget = {
  #   enable = true;
  #   sshKeys = [ "ssh-ed25519 …" ];
  #   deliveryKeys = [ "cim-1:…" ];
  # };
}
