# The name hierarchy of a Domain, its selectors and its resolver, with builtins only.
#
# The same inventory gives the same answer as the controller's crate `cim-names`; a test compares both
# on generated hierarchies. In one thing this library is stricter: labels of other scripts are to be
# written as A-labels (`xn--…`), as the controller writes them.
let
  inherit (builtins)
    attrValues
    concatLists
    concatMap
    concatStringsSep
    filter
    foldl'
    groupBy
    mapAttrs
    ;

  text = import ./text.nix;
  errors = import ./errors.nix;
  label = import ./label.nix { inherit text errors; };
  fqdn = import ./fqdn.nix { inherit text label errors; };
  address = import ./address.nix { inherit text errors; };
  selector = import ./selector.nix { inherit text fqdn errors; };
  inventories = import ./inventory.nix { inherit text; };
  treeOf = import ./tree.nix { inherit text fqdn errors; };
  buildFrom = import ./build.nix {
    inherit
      text
      label
      fqdn
      address
      errors
      ;
  };
  placeIn = import ./place.nix { inherit text selector errors; };
  checkReferences = import ./references.nix { inherit text errors; };

  sortProblems =
    let
      key = problem: [
        problem.source
        problem.field
        problem.reason
        problem.message
      ];
    in
    builtins.sort (a: b: key a < key b);

  textOf = keys: attrValues keys;
in
{
  inherit
    text
    errors
    address
    fqdn
    label
    selector
    sortProblems
    ;

  # Builds as much of an inventory as can be built. What is wrong is left out, or attached to its
  # element, and listed in `problems`; it harms nothing that does not depend on it.
  build =
    written:
    let
      inventory = inventories.complete written;
      built = buildFrom inventory;
      named = mapAttrs (
        _: element: element // { addresses = textOf element.addressKeys; }
      ) built.elements;
      roles = placeIn {
        elements = named;
        tree = treeOf named;
      } built.unplaced;

      keysOf =
        role: foldl' (all: member: all // named.${member.name}.addressKeys) { } (attrValues role.members);
      settledRole =
        role: role.placed && builtins.all (member: named.${member.name}.settled) (attrValues role.members);
      rolesOf = groupBy (role: role.service) (attrValues roles);

      # Roles get the addresses of their members, services those of their roles.
      withRoles =
        element: roles:
        let
          placed = filter (role: role.placed) roles;
          addressKeys = foldl' (all: role: all // keysOf role) { } placed;
        in
        element
        // {
          inherit addressKeys;
          addresses = textOf addressKeys;
          settled = element.settled && builtins.all settledRole roles;
        };

      elements = mapAttrs (
        name: element:
        if element.kind == "role" then
          withRoles element [ roles.${name} ]
        else if element.kind == "service" then
          withRoles element (rolesOf.${name} or [ ])
        else
          element
      ) named;

      tree = treeOf elements;

      byAddress = groupBy (pair: pair.key) (
        concatMap (
          element:
          map (key: {
            inherit key;
            inherit (element) name;
          }) (builtins.attrNames element.addressKeys)
        ) (attrValues elements)
      );

      unknownFields = map (
        { source, field }:
        {
          inherit source field;
          element = null;
          reason = "UnknownField";
          message = "nothing reads this field; is it spelled wrongly?";
        }
      ) (inventories.unknown written);

      problems = sortProblems (
        built.problems
        ++ concatLists (map (role: role.problems) (attrValues roles))
        ++ checkReferences inventory
        ++ unknownFields
      );

      # The members behind an element, by name; none for a role that is not placed.
      membersOf =
        element:
        let
          of = role: if role.placed then role.members else { };
        in
        if element.kind == "role" then
          of roles.${element.name}
        else if element.kind == "service" then
          foldl' (all: role: all // of role) { } (rolesOf.${element.name} or [ ])
        else
          tree.hosts element;

      namesOfKey = key: map (pair: pair.name) (byAddress.${key} or [ ]);

      # The thing itself first, then what it belongs to.
      elementsWith =
        key:
        builtins.sort (a: b: tree.kindOrder.${a.kind} > tree.kindOrder.${b.kind}) (
          map (name: elements.${name}) (namesOfKey key)
        );

      resolution =
        query: found:
        let
          members = foldl' (all: element: all // membersOf element) { } found;
          keys = foldl' (all: member: all // elements.${member}.addressKeys) { } (builtins.attrNames members);
        in
        {
          inherit query;
          elements = found;
          members = attrValues members;
          addresses = textOf keys;
          reverse = text.unique (map (each: address.reverseName (address.parse each)) (textOf keys));
        };
    in
    {
      inherit
        inventory
        elements
        roles
        problems
        tree
        membersOf
        ;
      inherit (built) zones machines services;

      # The names of an address, and every address that has one.
      namesOf =
        written:
        let
          parsed = address.parse written;
        in
        if parsed == null then [ ] else namesOfKey parsed.key;
      addresses = map (key: address.ofKey key) (builtins.attrNames byAddress);

      # The elements that a selector names where it stands in `scope`: `{ ok = […]; }` or `{ error; }`.
      find =
        written: scope:
        let
          parsed = selector.parse written;
        in
        if parsed ? error then parsed else tree.find parsed.ok scope null;

      # Answers whatever somebody asks: an address, a name of the reverse tree, or a selector in
      # `scope`, as `{ ok = { query, elements, members, addresses, reverse }; }` or `{ error; }`.
      resolve =
        query: scope:
        let
          direct = address.parse query;
          name = fqdn.parse query;
          reverse = if name ? ok then address.ofReverseName name.ok else null;
          asked = if direct != null then direct else reverse;
          parsed = selector.parse query;
          found = tree.find parsed.ok scope null;
        in
        if asked != null then
          { ok = resolution asked.text (elementsWith asked.key); }
        else if parsed ? error then
          parsed
        else if found ? error then
          found
        else
          { ok = resolution parsed.ok.text found.ok; };
    };

  # All problems, one a line.
  showProblems = problems: concatStringsSep "\n" (map errors.show problems);
}
