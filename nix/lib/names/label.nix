# One label of a host name in its only spelling (RFC 1035 §2.3.1 as relaxed by RFC 1123 §2.1).
#
# Each function gives `{ ok = …; }` or `{ error = …; }`.
{ text, errors }:
let
  inherit (builtins)
    concatStringsSep
    filter
    isString
    match
    split
    stringLength
    substring
    ;

  check =
    label:
    if label == "" then
      "it is empty"
    else if stringLength label > 63 then
      "it is longer than 63 octets"
    else if match ".*[.].*" label != null then
      "it holds a dot, so it is several labels"
    else if match "[a-z0-9-]*" label == null then
      "it holds something other than letters, digits and `-`"
    else if text.hasPrefix "-" label || text.hasSuffix "-" label then
      "it begins or ends with `-`"
    else
      null;

  refused = written: why: { error = errors.badLabel written why; };

  reserved = "`--` in the third and fourth place is reserved for IDNA";
in
rec {
  parse =
    written:
    let
      label = text.lower written;
      why = check label;
    in
    if why != null then
      refused written why
    else if substring 2 2 label == "--" && !isALabel label then
      refused written reserved
    else
      { ok = label; };

  # The label of a network interface: its runs of letters and digits, joined by one `-`.
  ofInterface =
    kernelName:
    let
      runs = filter (part: isString part && part != "") (split "[^a-z0-9]+" (text.lower kernelName));
      label = concatStringsSep "-" runs;
      why = check label;
    in
    if why != null then refused kernelName why else { ok = label; };

  # Whether Punycode (RFC 3492) stands behind `xn--`, of code points that no mapping would change.
  # The full tables of IDNA are not asked; the controller has them.
  isALabel =
    label:
    let
      points = decode (substring 4 (-1) label);
    in
    text.hasPrefix "xn--" label && points != null && points != [ ] && builtins.all plausible points;

  plausible =
    point:
    point > 160 && point <= 1114111 && !(point >= 55296 && point <= 57343) && !(upperLatin point);
  upperLatin = point: point >= 192 && point <= 222 && point != 215;

  # The code points above ASCII that a Punycode text adds; null when it is none.
  decode =
    written:
    let
      parts = text.splitAt "-" written;
      basic = stringLength written - stringLength (last parts) - 1;
      start = {
        inherit (initial) n bias;
        i = 0;
        length = if basic < 0 then 0 else basic;
        points = [ ];
        first = true;
        bad = false;
      }
      // fresh 0;
      end = builtins.foldl' digit start (text.characters (last parts));
    in
    if end.bad || end.k != 36 then null else end.points;

  initial = {
    n = 128;
    bias = 72;
  };

  last = list: builtins.elemAt list (builtins.length list - 1);

  # The state at the beginning of a variable-length number, RFC 3492 §6.2.
  fresh = i: {
    begin = i;
    weight = 1;
    k = 36;
  };

  digitValue = builtins.listToAttrs (
    builtins.genList (value: {
      name = substring value 1 "abcdefghijklmnopqrstuvwxyz0123456789";
      inherit value;
    }) 36
  );

  digit =
    state: character:
    let
      value = digitValue.${character};
      i = state.i + value * state.weight;
      threshold =
        if state.k <= state.bias then
          1
        else if state.k >= state.bias + 26 then
          26
        else
          state.k - state.bias;
      length = state.length + 1;
      n = state.n + i / length;
    in
    if state.bad || i > 70000000 then
      state // { bad = true; }
    else if value >= threshold then
      state
      // {
        inherit i;
        weight = state.weight * (36 - threshold);
        k = state.k + 36;
      }
    else
      state
      // {
        inherit n length;
        i = i - (i / length) * length + 1;
        bias = adapt (i - state.begin) length state.first;
        first = false;
        points = state.points ++ [ n ];
      }
      // fresh (i - (i / length) * length + 1);

  adapt =
    delta: points: first:
    let
      damped = if first then delta / 700 else delta / 2;
      go = k: delta: if delta > 455 then go (k + 36) (delta / 35) else k + 36 * delta / (delta + 38);
    in
    go 0 (damped + damped / points);
}
