# The elements by name, and how a selector finds them. What a name means where it stands is told in
# docs/guide/cluster-config.md.
{
  text,
  fqdn,
  errors,
}:
elements:
let
  inherit (builtins)
    attrValues
    filter
    groupBy
    listToAttrs
    mapAttrs
    ;

  kindOrder = {
    domain = 0;
    cluster = 1;
    service = 2;
    role = 3;
    machine = 4;
    interface = 5;
    host = 6;
  };

  typos = import ./typos.nix { inherit text; };
  # How many slips apart a name may be to be proposed, and how many are.
  maxTypos = 2;
  maxHints = 3;

  # Attribute values come sorted by name, and sorting is stable.
  byKind = builtins.sort (a: b: kindOrder.${a.kind} < kindOrder.${b.kind});

  childrenOf = mapAttrs (_: byKind) (
    groupBy (element: element.parent) (filter (element: element.parent != null) (attrValues elements))
  );

  byFirstLabel = groupBy (element: fqdn.firstLabel element.name) (attrValues elements);

  # The first of a list that fits, as a list of one or none.
  firstOf =
    fits: list:
    let
      good = filter fits list;
    in
    if good == [ ] then [ ] else [ (builtins.head good) ];
in
rec {
  inherit kindOrder;

  qualified = element: "${element.kind}/${element.name}";

  children = name: kind: filter (element: element.kind == kind) (childrenOf.${name} or [ ]);
  allChildren = name: childrenOf.${name} or [ ];

  # The element and all above it, innermost first.
  enclosing =
    scope:
    let
      element = elements.${scope};
    in
    if !(elements ? ${scope}) then
      [ ]
    else
      [ element ] ++ (if element.parent == null then [ ] else enclosing element.parent);

  # What a parsed selector that stands in `scope` names; `except` is never the answer. One element
  # for a name, any number for a label.
  find =
    selector: scope: except:
    let
      inherit (selector) kind name;
      fits = element: (kind == null || kind == element.kind) && element.name != except;
      complete = filter fits (if elements ? ${name} then [ elements.${name} ] else [ ]);
      found = if complete != [ ] || selector.absolute then complete else search name scope fits;
    in
    if selector ? label then
      { ok = labelled selector.label selector.value scope; }
    else if found == [ ] then
      { error = errors.unknownSelector selector.text scope (near name); }
    else if builtins.length found > 1 then
      {
        error = errors.ambiguousSelector selector.text scope (text.sortStrings (map qualified found));
      }
    else
      { ok = found; };

  # What may have been meant: elements whose own label is spelled almost like the first one asked for.
  near =
    name:
    let
      first = fqdn.firstLabel name;
      size = builtins.stringLength first;
      apart = label: builtins.stringLength label - size;
      alike =
        label:
        let
          slips = typos label first;
        in
        if apart label <= maxTypos && apart label >= -maxTypos && slips <= maxTypos && slips < size then
          map (element: { inherit slips element; }) byFirstLabel.${label}
        else
          [ ];
      found = builtins.sort (
        a: b: a.slips < b.slips || (a.slips == b.slips && a.element.name < b.element.name)
      ) (builtins.concatMap alike (builtins.attrNames byFirstLabel));
      count = builtins.length found;
    in
    map (each: qualified each.element) (
      builtins.genList (builtins.elemAt found) (if count > maxHints then maxHints else count)
    );

  search =
    name: scope: fits:
    let
      bases = enclosing scope;
      at = base: if elements ? "${name}.${base.name}" then [ elements."${name}.${base.name}" ] else [ ];
      direct = firstOf fits (builtins.concatMap at bases);
      alike = filter fits (byFirstLabel.${fqdn.firstLabel name} or [ ]);
      begins =
        base: element:
        let
          relative = fqdn.relativeTo base.name element.name;
        in
        relative != null && (relative == name || text.hasPrefix "${name}." relative);
      candidates = firstOf (found: found != [ ]) (map (base: filter (begins base) alike) bases);
    in
    if direct != [ ] then
      direct
    else if candidates == [ ] then
      [ ]
    else
      builtins.head candidates;

  labelled =
    key: value: scope:
    let
      clusters = filter (element: element.kind == "cluster") (enclosing scope);
      fits =
        element:
        element.kind == "machine"
        && (clusters == [ ] || element.parent == (builtins.head clusters).name)
        && element.labels ? ${key}
        && (value == null || element.labels.${key} == value);
    in
    filter fits (attrValues elements);

  # Those on whom an element that is not a role or a service falls, by name.
  hosts =
    element:
    let
      within = other: other.kind == "machine" && fqdn.isWithin element.name other.name;
      found =
        if
          builtins.elem element.kind [
            "cluster"
            "domain"
          ]
        then
          filter within (attrValues elements)
        else if
          builtins.elem element.kind [
            "service"
            "role"
          ]
        then
          [ ]
        else
          [ element ];
    in
    listToAttrs (
      map (found: {
        inherit (found) name;
        value = member found;
      }) found
    );

  member = element: {
    inherit (element)
      name
      kind
      source
      addresses
      ;
    machine = if element.kind == "machine" then element.name else element.parent;
  };
}
