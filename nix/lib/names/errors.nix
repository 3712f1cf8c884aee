# What can be wrong, each as `{ reason, message }` with what a program may want to know beside. Reasons
# and messages are those of the controller.
let
  inherit (builtins)
    concatStringsSep
    genList
    elemAt
    length
    ;

  most = 8;
  list =
    names:
    let
      count = length names;
      shown = concatStringsSep ", " (genList (elemAt names) (if count > most then most else count));
    in
    if count == 0 then
      "none"
    else if count > most then
      "${shown} and ${toString (count - most)} more"
    else
      shown;

  arrows = concatStringsSep " -> ";

  count =
    n:
    if n == 0 then
      "no member"
    else if n == 1 then
      "1 member"
    else
      "${toString n} members";

  bounds =
    min: max:
    if max == null then
      "at least ${toString min} are"
    else if max == min then
      "exactly ${toString min} are"
    else
      "${toString min} to ${toString max} are";
in
{
  badLabel = got: why: {
    reason = "BadLabel";
    message = "`${got}` is not a DNS label: ${why}; wanted are 1 to 63 of a-z, 0-9 and `-`, not `-` at either end (RFC 1123)";
  };
  badName = got: why: {
    reason = "BadName";
    message = "`${got}` is not a domain name: ${why}";
  };
  badAddress = got: why: {
    reason = "BadAddress";
    message = "`${got}` is not the address of a host: ${why}";
  };
  badMac = got: {
    reason = "BadMac";
    message = "`${got}` is not a MAC address; wanted are six hexadecimal octets of one station, such as 52:54:00:12:34:56";
  };
  badSelector = got: why: {
    reason = "BadSelector";
    message = "`${got}` is not a selector: ${why}";
  };
  badPort = got: {
    reason = "BadPort";
    message = "`${got}` is not a port name; wanted are 1 to 15 of a-z, 0-9 and `-` with at least one letter, and no `-` at either end or next to another (RFC 6335)";
  };
  badCardinality = min: max: {
    reason = "BadCardinality";
    message = "at least ${toString min} and at most ${toString max} members can never hold together";
  };
  duplicateName = name: kind: holder: {
    reason = "DuplicateName";
    message = "the name ${name} is already that of a ${kind} (${holder}); rename one of the two";
  };
  duplicateAddress = address: owner: holder: {
    reason = "DuplicateAddress";
    message = "the address ${address} already belongs to ${owner} (${holder}); give one of the two another";
  };
  duplicateMac = mac: owner: holder: {
    reason = "DuplicateMac";
    message = "the MAC address ${mac} already belongs to ${owner} (${holder})";
  };
  duplicateZone = zone: {
    reason = "DuplicateZone";
    message = "the zone ${zone} is listed twice";
  };
  noCluster = cluster: why: {
    reason = "NoCluster";
    message = "its cluster ${cluster} has no name in this Domain: ${why}";
  };
  noReference = wanted: {
    reason = "NoReference";
    message = "it refers to ${wanted}, which is not in this Domain";
  };
  referenceCycle = path: {
    reason = "ReferenceCycle";
    message = "it waits for itself: ${arrows path}";
  };
  unknownInterface = got: known: {
    reason = "UnknownInterface";
    message = "the primary interface `${got}` is none of this machine's: ${list known}";
  };
  unknownSelector = selector: scope: near: {
    reason = "UnknownSelector";
    message = "`${selector}` names nothing within ${scope}${
      if near == [ ] then "" else "; did you mean ${concatStringsSep " or " near}?"
    }";
  };
  ambiguousSelector = selector: scope: candidates: {
    reason = "AmbiguousSelector";
    message = "`${selector}` is ambiguous within ${scope}; write one of ${list candidates}";
    inherit candidates;
  };
  selectorCycle = path: {
    reason = "SelectorCycle";
    message = "the role selects itself: ${arrows path}";
  };
  brokenTarget = name: {
    reason = "BrokenTarget";
    message = "it selects ${name}, which has a problem of its own";
  };
  cardinality = role: min: max: got: members: {
    reason = "Cardinality";
    message = "the role ${role} has ${count got} where ${bounds min max} wanted: ${list members}";
  };

  # One line: whose fault it is, where, what.
  show =
    {
      source,
      field,
      message,
      ...
    }:
    "${source}${if field == "" then "" else ": "}${field}: ${message}";
}
