# The service `web`: pages on several machines, and one machine in front of them.
#
# Called once for each role that a machine plays; the answer is a NixOS module.
{
  role,
  peers,
  service,
  ...
}:
{ lib, pkgs, ... }:
let
  # Nothing of the cluster is in it: what runs in dev must be what runs in prod.
  page = pkgs.writeTextDir "index.html" "It works.\n";

  roles = {
    page = {
      services.nginx.virtualHosts.${service.name} = {
        default = true;
        root = page;
      };
      # So that it can be compared.
      cim.closures.${service.closure} = page;
    };
    front = {
      services.nginx = {
        upstreams.pages.servers = lib.listToAttrs (
          map (address: lib.nameValuePair "${address}:80" { }) (
            builtins.concatMap (peer: peer.addresses) peers.page
          )
        );
        virtualHosts.${role.name} = {
          default = true;
          locations."/".proxyPass = "http://pages";
        };
      };
    };
  };
in
{
  config = lib.mkMerge [
    {
      services.nginx.enable = true;
      networking.firewall.allowedTCPPorts = [ 80 ];
    }
    roles.${role.label}
  ];
}
