# From an inventory to NixOS configurations, in two passes.
#
# The first gives names and addresses, and places every role; it needs builtins only. The second
# evaluates one NixOS configuration per machine, in which each service sees what the first pass found,
# above all the addresses of its peers on other machines.
{ names }:
let
  definitions = import ./services.nix { inherit names; };
in
{
  # The user's nixpkgs: a flake, or whatever has `lib.nixosSystem`.
  nixpkgs,
  # See docs/guide/cluster-config.md for its form.
  inventory,
  # By long name, short name or label: how each service is installed.
  services ? { },
  # By long name, short name or label: NixOS modules of single machines, such as their hardware.
  machines ? { },
  # NixOS modules of every machine.
  modules ? [ ],
  # Arguments of every module.
  specialArgs ? { },
  # Whether any problem at all makes every configuration fail.
  strict ? false,
}:
let
  inherit (builtins)
    attrValues
    concatMap
    filter
    groupBy
    listToAttrs
    ;
  # First pass.
  hierarchy = names.build inventory;
  inherit (hierarchy) elements roles;
  domain = builtins.head (filter (element: element.kind == "domain") (attrValues elements));

  shortName =
    name:
    let
      short = names.fqdn.relativeTo domain.name name;
    in
    if short == "" then name else short;
  labelOf = names.fqdn.firstLabel;

  # What a set keyed by names says of an element; the more specific key decides.
  keyed =
    set: name: default:
    set.${name} or set.${shortName name} or set.${labelOf name} or default;

  byName =
    list: f:
    listToAttrs (
      map (each: {
        inherit (each) name;
        value = f each;
      }) list
    );

  installed = byName hierarchy.services (
    service: definitions.accept service (keyed services service.name definitions.missing)
  );

  problems = names.sortProblems (
    hierarchy.problems ++ concatMap (service: service.problems) (attrValues installed)
  );

  # The addresses of an element, unless a problem hides one of them: then whoever needs them is refused,
  # since to go on with the others would mean to forget this one where it is in use.
  addressesOf =
    name:
    let
      element = elements.${name};
      why = filter (problem: problem.source == element.source) problems;
    in
    if element.settled then
      element.addresses
    else
      throw "cim: not all addresses of ${name} are known:\n${names.showProblems why}";

  # The resolver that modules see. Names are looked up where `scope` stands; what means nothing there
  # ends the evaluation of the machine with a sentence that says why.
  resolverIn =
    scope:
    let
      sure = result: if result ? error then throw "cim: ${scope}: ${result.error.message}" else result.ok;
      resolve =
        query:
        let
          found = sure (hierarchy.resolve query scope);
          known = map (member: addressesOf member.name) found.members;
        in
        found // { addresses = builtins.deepSeq known found.addresses; };
    in
    {
      inherit resolve;
      inherit (hierarchy) namesOf;
      # The addresses behind a name, and the host names.
      addressesOf = query: (resolve query).addresses;
      hostsOf = query: map (member: member.name) (resolve query).members;
      # The evaluated configurations of the machines behind a name. Two machines that decide by each
      # other's configuration never end; what is needed of a peer should be in the inventory.
      configsOf =
        query:
        map (machine: configurations.${attributes.${machine}}.config) (
          names.text.unique (map (member: member.machine) (resolve query).members)
        );
      inherit (hierarchy) elements;
    };

  peer = member: {
    inherit (member)
      name
      kind
      machine
      ;
    addresses = addressesOf member.name;
    label = labelOf member.name;
  };

  # By service, the members of its roles by the role's label.
  peersOf = builtins.mapAttrs (
    _: roles:
    listToAttrs (
      map (role: {
        name = role.label;
        value = if role.placed then map peer (attrValues role.members) else [ ];
      }) roles
    )
  ) (groupBy (role: role.service) (attrValues roles));

  # By machine, the roles that it plays; of those that are not placed, as far as is known.
  machinesOf = role: names.text.unique (map (member: member.machine) (attrValues role.members));
  byMachine =
    roles:
    builtins.mapAttrs (_: pairs: map (pair: pair.role) pairs) (
      groupBy (pair: pair.machine) (
        concatMap (role: map (machine: { inherit machine role; }) (machinesOf role)) roles
      )
    );
  unplaced = filter (role: !role.placed) (attrValues roles);
  played = byMachine (filter (role: role.placed) (attrValues roles));
  perhapsPlayed = byMachine unplaced;

  # `web` for a service of the machine's own cluster, and so the same in each of them, so that closures
  # can be compared between clusters; `web.core` for a service of another.
  closureName =
    machine: service:
    if elements.${service}.parent == elements.${machine}.parent then
      labelOf service
    else
      shortName service;

  machineOf =
    { name, resource, ... }:
    let
      element = elements.${name};
      address =
        written:
        let
          parsed = names.address.parseHost written;
        in
        if parsed ? error then
          [ ]
        else
          [
            {
              address = parsed.ok.text;
              prefixLength = names.address.prefixLengthOf written;
              family = if parsed.ok ? octets then "ipv4" else "ipv6";
            }
          ];
    in
    {
      inherit name;
      label = labelOf name;
      cluster = element.parent;
      domain = domain.name;
      inherit (element) addresses labels source;
      inherit (resource) host;
      interfaces = listToAttrs (
        map (interface: {
          inherit (interface) name;
          value = {
            inherit (interface) mac;
            addresses = concatMap address interface.addresses;
          };
        }) resource.interfaces
      );
      virtualHosts = map (child: {
        inherit (child) name addresses;
        label = labelOf child.name;
      }) (hierarchy.tree.children name "host");
    };

  # What a role of a service makes of a machine.
  roleModule =
    machine: role:
    let
      service = installed.${role.service};
      resolver = resolverIn role.service;
      given = {
        inherit resolver machine;
        config = definitions.configOf service role.label;
        role = {
          inherit (role)
            name
            label
            selectors
            cardinality
            ports
            ;
          members = map peer (filter (member: member.machine == machine.name) (attrValues role.members));
        };
        # What a selector means where the service stands: those behind it.
        selector = query: map peer (resolver.resolve query).members;
        # All members of all roles of the service, this machine among them, by the role's label.
        peers = peersOf.${role.service};
        service = {
          name = role.service;
          label = labelOf role.service;
          closure = closureName machine.name role.service;
        };
      };
    in
    {
      _file = "${role.service}, role ${role.label}";
      imports = [ (service.definition given) ];
    };

  # By cluster, what is wrong with roles of its services of which nobody knows who would play them:
  # they have no name, or not all that they select is known. Where only the number of members is
  # wrong, the members are known.
  clusterOf = listToAttrs (
    map (element: {
      name = element.source;
      value = element.name;
    }) (filter (element: element.kind == "cluster") (attrValues elements))
  );
  nameless =
    problem: problem.field == "label" || builtins.match "roles[[][0-9]+]\\.name" problem.field != null;
  servicesBySource = groupBy (service: service.source) hierarchy.inventory.services;
  homeOf =
    problem:
    map (service: {
      cluster = clusterOf.${service.cluster} or null;
      inherit problem;
    }) (servicesBySource.${problem.source} or [ ]);
  openIn = builtins.mapAttrs (_: pairs: map (pair: pair.problem) pairs) (
    groupBy (pair: pair.cluster) (
      filter (pair: pair.cluster != null) (
        concatMap homeOf (
          filter nameless hierarchy.problems
          ++ concatMap (role: role.problems) (filter (role: !role.complete) unplaced)
        )
      )
    )
  );

  # A field that nobody knows counts in strict evaluations only: a newer controller may have added it.
  bySource = groupBy (problem: problem.source) (
    filter (problem: problem.reason != "UnknownField") hierarchy.problems
  );
  byElement = groupBy (problem: problem.element) (
    filter (problem: problem.element != null) hierarchy.problems
  );

  # Why the configuration of a machine is not known: because something of its own description is lost,
  # or because of a role of which nobody knows whether the machine plays it. To go on without the one
  # or the other would mean to remove what is in use.
  problemsOf =
    machine:
    let
      roles = perhapsPlayed.${machine} or [ ] ++ played.${machine} or [ ];
    in
    distinct (
      bySource.${elements.${machine}.source} or [ ]
      ++ openIn.${elements.${machine}.parent} or [ ]
      ++ concatMap (role: byElement.${role.name} or [ ] ++ installed.${role.service}.problems) roles
    );

  distinct =
    problems:
    attrValues (
      listToAttrs (
        map (problem: {
          name = names.errors.show problem;
          value = problem;
        }) problems
      )
    );

  system =
    named:
    let
      machine = machineOf named;
      own = keyed machines named.name [ ];
      active = filter (role: installed.${role.service}.definition != null) (played.${named.name} or [ ]);
      evaluated = nixpkgs.lib.nixosSystem {
        specialArgs = {
          inherit machine;
          resolver = resolverIn named.name;
        }
        // specialArgs;
        modules = [
          ../modules/cim.nix
          {
            _file = "the inventory";
            cim.machine = machine;
            cim.roles = map (role: role.name) (played.${named.name} or [ ]);
          }
        ]
        ++ modules
        ++ (if builtins.isList own then own else [ own ])
        ++ map (roleModule machine) active;
      };
      wrong = if strict then problems else problemsOf named.name;
      refusal = throw "cim: the configuration of ${named.name} is not known:\n${names.showProblems wrong}";
    in
    # The problems are beside the configuration, so that they can be read without evaluating it.
    if wrong == [ ] then
      evaluated // { problems = [ ]; }
    else
      {
        problems = wrong;
        config = refusal;
        options = refusal;
        pkgs = refusal;
        extendModules = refusal;
      };

  # A machine is known by its label, as a Machine is that names no other configuration; where several
  # clusters have the label, by label and cluster.
  byLabel = groupBy (machine: labelOf machine.name) hierarchy.machines;
  attributes = byName hierarchy.machines (
    machine:
    let
      label = labelOf machine.name;
    in
    if builtins.length byLabel.${label} == 1 then
      label
    else
      "${label}-${labelOf elements.${machine.name}.parent}"
  );

  configurations = listToAttrs (
    map (machine: {
      name = attributes.${machine.name};
      value = system machine;
    }) hierarchy.machines
  );
in
{
  # By label, as deployers expect them.
  nixosConfigurations = configurations;
  # Everything that is wrong: `{ source, field, element, reason, message }` each.
  inherit problems hierarchy;
  # Names looked up from the Domain.
  resolver =
    if elements == { } then throw "cim: ${names.showProblems problems}" else resolverIn domain.name;
}
