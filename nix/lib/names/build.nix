# From text to elements: every name, address and MAC belongs to the first that claims it, in the order
# of the inventory. An element with a bad or taken name is left out with all below it.
#
# Names that compete have the same parent, since a label holds no dot; so each level is settled at once.
{
  text,
  label,
  fqdn,
  address,
  errors,
}:
inventory:
let
  inherit (builtins)
    concatMap
    elemAt
    filter
    genList
    groupBy
    length
    listToAttrs
    mapAttrs
    match
    stringLength
    ;

  imap = f: list: genList (index: f index (elemAt list index)) (length list);

  byName =
    name: list:
    listToAttrs (
      map (value: {
        name = name value;
        inherit value;
      }) list
    );

  problem =
    { source, field, ... }:
    element: error:
    {
      inherit source field element;
    }
    // error;

  # Gives each claim what it wants, if it is good and the first. `wanted` is `{ ok = key; }` or
  # `{ error; }`; `taken` makes the error of one that comes later.
  settle =
    taken: claims:
    let
      numbered = imap (order: claim: claim // { inherit order; }) claims;
      holders = byName (claim: claim.wanted.ok) (filter (claim: claim.wanted ? ok) numbered);
      judge =
        claim:
        if claim.wanted ? error then
          claim // { problem = claim.wanted.error; }
        else if holders.${claim.wanted.ok}.order != claim.order then
          claim // { problem = taken claim holders.${claim.wanted.ok}; }
        else
          claim;
      judged = map judge numbered;
    in
    {
      held = filter (claim: !(claim ? problem)) judged;
      problems = map (claim: problem claim claim.element claim.problem) (
        filter (claim: claim ? problem) judged
      );
      lost = filter (claim: claim ? problem) judged;
    };

  # Claims of names: `label` below `parent`.
  settleNames =
    claims:
    let
      want =
        claim:
        claim
        // {
          element = claim.parent;
          wanted = if claim.label ? error then claim.label else fqdn.child claim.parent claim.label.ok;
        };
      settled = settle (claim: holder: errors.duplicateName claim.wanted.ok holder.kind holder.source) (
        map want claims
      );
    in
    settled // { held = map (claim: claim // { name = claim.wanted.ok; }) settled.held; };

  domainName = fqdn.parseHost inventory.domain.suffix;
  domain = domainName.ok;

  # Nothing has a name where the Domain has none.
  named = domainName ? ok;

  clusters = settleNames (
    map (cluster: {
      inherit (cluster) source;
      field = "label";
      kind = "cluster";
      parent = domain;
      label = label.parse cluster.label;
    }) inventory.clusters
  );

  clusterNames = byName (claim: claim.source) clusters.held;
  clusterSources = byName (cluster: cluster.source) inventory.clusters;

  hasCluster = resource: clusterNames ? ${resource.cluster};
  homeless =
    resource:
    problem
      {
        inherit (resource) source;
        field = "cluster";
      }
      null
      (
        errors.noCluster resource.cluster (
          if clusterSources ? ${resource.cluster} then
            "its own name is refused"
          else
            "there is no such cluster"
        )
      );

  member = kind: resource: {
    inherit (resource) source;
    inherit kind resource;
    field = "label";
    parent = clusterNames.${resource.cluster}.name;
    label = label.parse resource.label;
  };

  # Machines come before services.
  members = settleNames (
    map (member "machine") (filter hasCluster inventory.machines)
    ++ map (member "service") (filter hasCluster inventory.services)
  );
  machines = filter (claim: claim.kind == "machine") members.held;
  services = filter (claim: claim.kind == "service") members.held;

  # What a resource lists, as claims below its element.
  parts =
    owner: field: kind: parse: list:
    imap (index: part: {
      inherit (owner) source;
      inherit kind part index;
      position = "${field}[${toString index}]";
      field = "${field}[${toString index}].name";
      parent = owner.name;
      label = parse part.name;
    }) list;

  machineParts = settleNames (
    concatMap (
      machine:
      parts machine "interfaces" "interface" label.ofInterface machine.resource.interfaces
      ++ parts machine "virtualHosts" "host" label.parse machine.resource.virtualHosts
    ) machines
  );

  roles = settleNames (
    concatMap (service: parts service "roles" "role" label.parse service.resource.roles) services
  );

  addresses =
    settle (claim: holder: errors.duplicateAddress claim.address.text holder.element holder.source)
      (
        concatMap (
          owner:
          imap (
            index: written:
            let
              parsed = address.parseHost written;
            in
            {
              inherit (owner) source;
              field = "${owner.position}.addresses[${toString index}]";
              element = owner.name;
              address = parsed.ok;
              wanted = if parsed ? ok then { ok = parsed.ok.key; } else parsed;
            }
          ) owner.part.addresses
        ) machineParts.held
      );

  macs = settle (claim: holder: errors.duplicateMac claim.wanted.ok holder.element holder.source) (
    concatMap (
      owner:
      if owner.kind != "interface" || owner.part.mac == null then
        [ ]
      else
        [
          {
            inherit (owner) source;
            field = "${owner.position}.mac";
            element = owner.name;
            wanted = address.parseMac owner.part.mac;
          }
        ]
    ) machineParts.held
  );

  # Addresses of an element as `{ key = text; }`, and who lost one.
  heldBy = mapAttrs (
    _: claims: mapAttrs (_: claim: claim.address.text) (byName (claim: claim.wanted.ok) claims)
  ) (groupBy (claim: claim.element) addresses.held);
  losers = byName (claim: claim.element) addresses.lost;

  partElement = claim: {
    inherit (claim)
      kind
      name
      parent
      source
      ;
    addressKeys = heldBy.${claim.name} or { };
    settled = !(losers ? ${claim.name});
    labels = { };
  };

  partsOf = groupBy (claim: claim.parent) machineParts.held;

  # The written position of the primary interface: a slip in one interface does not move the machine
  # to another.
  primary =
    machine:
    let
      inherit (machine.resource) interfaces primaryInterface;
      fits =
        interface:
        if primaryInterface == null then interface.addresses != [ ] else interface.name == primaryInterface;
      positions = filter (index: fits (elemAt interfaces index)) (
        genList (index: index) (length interfaces)
      );
    in
    if positions == [ ] then null else builtins.head positions;

  machineElement =
    machine:
    let
      position = primary machine;
      isPrimary = claim: claim.kind == "interface" && claim.index == position;
      interface = filter isPrimary (partsOf.${machine.name} or [ ]);
      element = partElement (builtins.head interface);
      nowhere = position == null;
    in
    {
      inherit (machine)
        kind
        name
        parent
        source
        ;
      inherit (machine.resource) labels;
      addressKeys = if nowhere || interface == [ ] then { } else element.addressKeys;
      settled =
        if nowhere then machine.resource.primaryInterface == null else interface != [ ] && element.settled;
    };

  strangePrimary =
    machine:
    if machine.resource.primaryInterface == null || primary machine != null then
      [ ]
    else
      [
        (problem
          {
            inherit (machine) source;
            field = "primaryInterface";
          }
          machine.name
          (
            errors.unknownInterface machine.resource.primaryInterface (
              map (interface: interface.name) machine.resource.interfaces
            )
          )
        )
      ];

  lostRoles = byName (claim: claim.parent) roles.lost;

  plainElement = settled: claim: {
    inherit (claim)
      kind
      name
      parent
      source
      ;
    addressKeys = { };
    inherit settled;
    labels = { };
  };

  elementList = [
    (plainElement true {
      kind = "domain";
      name = domain;
      parent = null;
      inherit (inventory.domain) source;
    })
  ]
  ++ map (plainElement true) clusters.held
  ++ map machineElement machines
  ++ map (service: plainElement (!(lostRoles ? ${service.name})) service) services
  ++ map partElement machineParts.held
  ++ map (plainElement true) roles.held;

  # RFC 6335 §5.1.
  isPortName =
    name:
    stringLength name <= 15
    && match "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?" name != null
    && match ".*[A-Za-z].*" name != null
    && match ".*--.*" name == null;

  portsOf =
    role:
    imap (
      index: port:
      if isPortName port.name && port.port >= 1 && port.port <= 65535 then
        {
          ok = port // {
            name = text.lower port.name;
          };
        }
      else
        {
          problem = problem {
            inherit (role) source;
            field = "${role.position}.ports[${toString index}]";
          } role.name (errors.badPort "${port.name}:${toString port.port}");
        }
    ) role.part.ports;

  unplaced = map (
    role:
    let
      ports = portsOf role;
    in
    {
      inherit (role) name source;
      service = role.parent;
      field = role.position;
      inherit (role.part) selectors cardinality;
      label = role.label.ok;
      ports = concatMap (port: if port ? ok then [ port.ok ] else [ ]) ports;
      problems = concatMap (port: if port ? problem then [ port.problem ] else [ ]) ports;
    }
  ) roles.held;

  zones = settle (claim: _: errors.duplicateZone claim.wanted.ok) (
    imap (index: zone: {
      inherit (inventory.domain) source;
      field = "zones[${toString index}].name";
      element = null;
      wanted = fqdn.parse zone.name;
    }) inventory.domain.zones
  );

  domainProblem = problem {
    inherit (inventory.domain) source;
    field = "suffix";
  } null domainName.error;
in
{
  elements = if named then byName (element: element.name) elementList else { };
  unplaced = if named then unplaced else [ ];
  zones = map (claim: claim.wanted.ok) zones.held;
  # The resources that have a name, as `{ name, resource }`.
  machines = if named then machines else [ ];
  services = if named then services else [ ];
  problems =
    zones.problems
    ++ (
      if !named then
        [ domainProblem ]
      else
        clusters.problems
        ++ map homeless (
          filter (resource: !(hasCluster resource)) (inventory.machines ++ inventory.services)
        )
        ++ members.problems
        ++ machineParts.problems
        ++ addresses.problems
        ++ macs.problems
        ++ concatMap strangePrimary machines
        ++ roles.problems
        ++ concatMap (role: role.problems) unplaced
    );
}
