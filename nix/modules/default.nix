# The modules of a Domain's machines. `default` is what the library gives every machine anyway.
{
  default = ./cim.nix;
  deploy-target = ./deploy-target.nix;
  dev = ./dev.nix;
  dns = ./dns.nix;
  nats = ./nats.nix;
}
