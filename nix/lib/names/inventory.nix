# An inventory made complete: what may be left out when it is written by hand gets its default, and
# fields that nobody knows are told. One that the controller made comes through unchanged.
#
# Sources by default: `Cluster/core`, `Machine/core/host1`, `Service/core/vault`. A reference without
# its kind, such as `cluster = "core"`, is taken for one of these.
{ text }:
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    filter
    genList
    elemAt
    length
    ;

  # `shape`: per field its default, as a function of what was written (null: must be written).
  fill =
    what: shape: written:
    let
      known = attrNames shape;
      value =
        field:
        let
          default = shape.${field};
        in
        written.${field} or (
          if default == null then
            throw "cim: ${what} has no `${field}`; its fields are ${concatStringsSep ", " known}"
          else
            default written
        );
    in
    if !builtins.isAttrs written then
      throw "cim: ${what} is not an attribute set with the fields ${concatStringsSep ", " known}"
    else
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = value name;
        }) known
      );

  none = _: null;
  empty = _: [ ];
  always = value: _: value;

  shapes = {
    inventory = {
      domain = null;
      clusters = empty;
      machines = empty;
      services = empty;
    };
    domain = {
      source = domain: "Domain/${domain.suffix}";
      suffix = null;
      zones = empty;
    };
    zone = {
      name = null;
      ttl = always 300;
    };
    cluster = {
      source = cluster: "Cluster/${cluster.label}";
      label = null;
    };
    machine = {
      source = machine: "Machine/${plain "Cluster" machine.cluster}/${machine.label}";
      cluster = null;
      label = null;
      host = none;
      labels = always { };
      primaryInterface = none;
      interfaces = empty;
      virtualHosts = empty;
    };
    interface = {
      name = null;
      mac = none;
      addresses = empty;
    };
    virtualHost = {
      name = null;
      addresses = empty;
    };
    service = {
      source = service: "Service/${plain "Cluster" service.cluster}/${service.label}";
      cluster = null;
      label = null;
      roles = empty;
      dependsOn = empty;
    };
    role = {
      name = null;
      selectors = empty;
      cardinality = always { };
      ports = empty;
    };
    cardinality = {
      min = always 0;
      max = none;
    };
    port = {
      name = null;
      port = null;
      protocol = always "tcp";
    };
  };

  # A reference without its kind, and with it.
  plain =
    kind: reference:
    if text.hasPrefix "${kind}/" reference then
      builtins.substring (builtins.stringLength kind + 1) (-1) reference
    else
      reference;
  full = kind: reference: "${kind}/${plain kind reference}";

  complete =
    inventory:
    let
      whole = fill "the inventory" shapes.inventory inventory;
      machine =
        written:
        let
          machine = fill "a machine" shapes.machine written;
        in
        machine
        // {
          cluster = full "Cluster" machine.cluster;
          host = if machine.host == null then null else full "Machine" machine.host;
          interfaces = map (fill "an interface" shapes.interface) machine.interfaces;
          virtualHosts = map (fill "a virtual host" shapes.virtualHost) machine.virtualHosts;
        };
      service =
        written:
        let
          service = fill "a service" shapes.service written;
        in
        service
        // {
          cluster = full "Cluster" service.cluster;
          dependsOn = map (full "Service") service.dependsOn;
          roles = map role service.roles;
        };
      role =
        written:
        let
          role = fill "a role" shapes.role written;
        in
        role
        // {
          cardinality = fill "a cardinality" shapes.cardinality role.cardinality;
          ports = map (fill "a port" shapes.port) role.ports;
        };
      domain = fill "the domain" shapes.domain whole.domain;
    in
    {
      domain = domain // {
        zones = map (fill "a zone" shapes.zone) domain.zones;
      };
      clusters = map (fill "a cluster" shapes.cluster) whole.clusters;
      machines = map machine whole.machines;
      services = map service whole.services;
    };

  # Fields that were written and mean nothing, as `{ source, field }`.
  unknown =
    inventory:
    let
      completed = complete inventory;
      strange =
        source: path: shape: written:
        map (field: {
          inherit source;
          field = "${path}${field}";
        }) (filter (field: !(shape ? ${field})) (attrNames written));
      # Each of a list below `path`, with its own lists.
      each =
        source: path: shape: list:
        concatLists (
          genList (index: strange source "${path}[${toString index}]." shape (elemAt list index)) (
            length list
          )
        );
      along =
        lists: completed: f:
        concatLists (
          genList (index: f (elemAt completed index).source (elemAt lists index)) (length lists)
        );
      domain = inventory.domain;
      ofMachine =
        source: machine:
        strange source "" shapes.machine machine
        ++ each source "interfaces" shapes.interface (machine.interfaces or [ ])
        ++ each source "virtualHosts" shapes.virtualHost (machine.virtualHosts or [ ]);
      ofService =
        source: service:
        strange source "" shapes.service service
        ++ each source "roles" shapes.role (service.roles or [ ])
        ++ concatLists (
          genList (
            index:
            let
              role = elemAt service.roles index;
              path = "roles[${toString index}].";
            in
            strange source "${path}cardinality." shapes.cardinality (role.cardinality or { })
            ++ each source "${path}ports" shapes.port (role.ports or [ ])
          ) (length (service.roles or [ ]))
        );
    in
    strange completed.domain.source "inventory." shapes.inventory inventory
    ++ strange completed.domain.source "" shapes.domain domain
    ++ each completed.domain.source "zones" shapes.zone (domain.zones or [ ])
    ++ along (inventory.clusters or [ ]) completed.clusters (source: strange source "" shapes.cluster)
    ++ along (inventory.machines or [ ]) completed.machines ofMachine
    ++ along (inventory.services or [ ]) completed.services ofService;
in
{
  inherit complete unknown;
}
