# Placing roles: from selectors to members. Each role either is placed, or its problems say why not.
{
  text,
  selector,
  errors,
}:
{ elements, tree }:
unplaced:
let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    filter
    foldl'
    genList
    length
    listToAttrs
    mapAttrs
    ;

  shortestCycle = import ./cycle.nix;

  problem =
    role: part: error:
    {
      inherit (role) source;
      field = "${role.field}.${part}";
      element = role.name;
    }
    // error;

  byName = listToAttrs (
    map (role: {
      inherit (role) name;
      value = role;
    }) unplaced
  );

  # What one found element adds: hosts, roles, perhaps an error.
  target =
    element:
    if element.kind == "role" then
      {
        hosts = { };
        roles = [ element.name ];
        errors = [ ];
      }
    else if element.kind == "service" then
      {
        hosts = { };
        roles = map (role: role.name) (tree.children element.name "role");
        # One of its roles got no name and is missing from the union.
        errors = if element.settled then [ ] else [ (errors.brokenTarget element.name) ];
      }
    else
      {
        hosts = tree.hosts element;
        roles = [ ];
        errors = [ ];
      };

  # Selectors stand in the role's service, so that a role may share its name with a machine and still
  # be placed on it; for the same reason a role never means itself.
  resolveOne =
    role: index:
    let
      parsed = selector.parse (elemAt role.selectors index);
      found = if parsed ? error then parsed else tree.find parsed.ok role.service role.name;
      parts = map target found.ok;
      failures = if found ? error then [ found.error ] else concatMap (part: part.errors) parts;
    in
    {
      hosts = if found ? error then { } else foldl' (all: part: all // part.hosts) { } parts;
      roles = if found ? error then [ ] else concatMap (part: part.roles) parts;
      problems = map (problem role "selectors[${toString index}]") failures;
    };

  targets = mapAttrs (
    _: role:
    let
      each = genList (resolveOne role) (length role.selectors);
    in
    {
      hosts = foldl' (all: part: all // part.hosts) { } each;
      roles = text.unique (concatMap (part: part.roles) each);
      problems = concatMap (part: part.problems) each;
    }
  ) byName;

  selects = mapAttrs (_: target: target.roles) targets;

  placed = mapAttrs (
    name: role:
    let
      target = targets.${name};
      cycle = shortestCycle selects name;
      inCycle = cycle != null;
      # A role in a cycle asks no other, so that this ends.
      others = map (other: placed.${other}) (if inCycle then [ ] else target.roles);
      broken = filter (other: !other.placed) others;
      members = foldl' (all: other: all // other.members) target.hosts others;
      early =
        target.problems
        ++ (if inCycle then [ (problem role "selectors" (errors.selectorCycle cycle)) ] else [ ])
        ++ map (other: problem role "selectors" (errors.brokenTarget other.name)) broken;
      # Counting what is known to be incomplete would only blame the wrong field.
      wrong = if early == [ ] then miscounted role members else [ ];
      problems = early ++ map (problem role "cardinality") wrong;
    in
    {
      inherit (role)
        name
        label
        service
        source
        selectors
        cardinality
        ports
        ;
      inherit members problems;
      placed = problems == [ ];
      # Whether `members` are all that its selectors mean.
      complete = early == [ ];
    }
  ) byName;

  # An interface stands for its machine, a virtual host for itself.
  countedAs = member: if member.kind == "interface" then member.machine else member.name;

  miscounted =
    role: members:
    let
      inherit (role.cardinality) min max;
      got = length (text.unique (map countedAs (builtins.attrValues members)));
    in
    if max != null && max < min then
      [ (errors.badCardinality min max) ]
    else if got < min || (max != null && got > max) then
      [ (errors.cardinality role.name min max got (attrNames members)) ]
    else
      [ ];
in
placed
