# Domain names: labels joined by dots, no final dot, at most 253 octets.
{
  text,
  label,
  errors,
}:
let
  inherit (builtins)
    concatStringsSep
    elemAt
    filter
    genList
    length
    match
    stringLength
    ;

  limit = 253;

  withoutFinalDot =
    written:
    let
      relative = text.dropSuffix "." written;
    in
    if relative == null then written else relative;

  bounded =
    name:
    if stringLength name > limit then
      {
        error = errors.badName name "it is ${toString (stringLength name)} octets long, the limit is ${toString limit}";
      }
    else
      { ok = name; };

  # A label of any name in a zone: also `_` (RFC 8552), `/` (RFC 2317), a leading `*` (RFC 4592).
  zoneLabel =
    position: written:
    let
      lowered = text.lower written;
      parsed = label.parse written;
    in
    if position == 0 && written == "*" then
      { ok = written; }
    else if match ".*[_/].*" written == null then
      if parsed ? ok then parsed else { why = parsed.error.message; }
    else if stringLength lowered > 63 || match "[a-z0-9_/-]*" lowered == null then
      { why = "`${lowered}` is not 1 to 63 of a-z, 0-9, `-`, `_` and `/`"; }
    else
      { ok = lowered; };
in
rec {
  # The labels of a name as written, each in canonical spelling, or the first error.
  hostLabels =
    written:
    let
      parsed = map label.parse (text.splitAt "." written);
      bad = filter (result: result ? error) parsed;
    in
    if bad != [ ] then builtins.head bad else { ok = map (result: result.ok) parsed; };

  # A name made of host labels only: the suffix of a Domain.
  parseHost =
    written:
    let
      labels = hostLabels (withoutFinalDot written);
    in
    if labels ? error then labels else bounded (concatStringsSep "." labels.ok);

  # Any name in a zone.
  parse =
    written:
    let
      labels = text.splitAt "." (withoutFinalDot written);
      parsed = genList (position: zoneLabel position (elemAt labels position)) (length labels);
      bad = filter (result: result ? why) parsed;
      whole = bounded (concatStringsSep "." (map (result: result.ok) parsed));
    in
    if bad != [ ] then
      { error = errors.badName written (builtins.head bad).why; }
    else if whole ? error then
      { error = errors.badName written "it is longer than ${toString limit} octets"; }
    else
      whole;

  child = parent: name: bounded "${name}.${parent}";

  firstLabel = name: builtins.head (text.splitAt "." name);

  # What stands before `base`; "" when both are the same, null when `name` is not within it.
  relativeTo = base: name: if name == base then "" else text.dropSuffix ".${base}" name;

  isWithin = base: name: relativeTo base name != null;
}
