# What is true of this machine alone. `nixos-generate-config` or a nixos-facter report writes it.
{
  boot.loader.grub.device = "/dev/vda";
  fileSystems."/" = {
    device = "/dev/vda1";
    fsType = "ext4";
  };
}
