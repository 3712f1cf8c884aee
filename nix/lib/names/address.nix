# Addresses as people write them, and their names in the reverse tree.
#
# An address is `{ key, text }`: `text` is its canonical spelling (RFC 5952), and keys sort as numbers,
# IPv4 before IPv6, so that attribute sets by key are in order.
{ text, errors }:
let
  inherit (builtins)
    concatStringsSep
    elemAt
    filter
    foldl'
    genList
    isString
    length
    match
    split
    substring
    ;

  # Octets, or null.
  ipv4 =
    written:
    let
      octets = text.splitAt "." written;
      good = octet: match "0|[1-9][0-9]?[0-9]?" octet != null && text.number 10 octet < 256;
    in
    if length octets == 4 && builtins.all good octets then map (text.number 10) octets else null;

  # 16-bit groups of one side of `::`, or null. `last` may end in an IPv4 address (RFC 4291 §2.2).
  groups =
    { last }:
    written:
    let
      parts = if written == "" then [ ] else text.splitAt ":" written;
      count = length parts;
      group =
        position:
        let
          part = elemAt parts position;
          v4 = ipv4 part;
        in
        if match "[0-9a-f]{1,4}" part != null then
          [ (text.number 16 part) ]
        else if last && position == count - 1 && v4 != null then
          [
            (elemAt v4 0 * 256 + elemAt v4 1)
            (elemAt v4 2 * 256 + elemAt v4 3)
          ]
        else
          [ null ];
      all = builtins.concatLists (genList group count);
    in
    if builtins.elem null all then null else all;

  # Eight groups, or null.
  ipv6 =
    written:
    let
      sides = filter isString (split "::" (text.lower written));
      head = groups { last = length sides == 1; } (elemAt sides 0);
      tail = groups { last = true; } (elemAt sides 1);
      missing = 8 - length head - length tail;
    in
    if head == null then
      null
    else if length sides == 1 then
      if length head == 8 then head else null
    else if length sides != 2 || tail == null || missing < 1 then
      null
    else
      head ++ genList (_: 0) missing ++ tail;

  hexGroup =
    group:
    let
      digits = text.hex 4 group;
      strip = digits: if match "0.+" digits != null then strip (substring 1 (-1) digits) else digits;
    in
    strip digits;

  # The longest run of at least two zero groups becomes `::`, the first of equals.
  ipv6Text =
    parts:
    let
      runs = foldl' (
        runs: group: if group == 0 then [ (builtins.head runs + 1) ] ++ runs else [ 0 ] ++ runs
      ) [ 0 ] parts;
      longest = foldl' (most: run: if run > most then run else most) 0 runs;
      # `runs` is reversed and has one more than `parts`.
      runAt = position: elemAt runs (7 - position);
      end = builtins.head (filter (position: runAt position == longest) (genList (n: n) 8));
      begin = end - longest + 1;
      join = from: to: concatStringsSep ":" (genList (n: hexGroup (elemAt parts (from + n))) (to - from));
    in
    if longest < 2 then join 0 8 else "${join 0 begin}::${join (end + 1) 8}";

  ofV4 = octets: {
    key = "4" + concatStringsSep "" (map (text.hex 2) octets);
    text = concatStringsSep "." (map toString octets);
    octets = octets;
  };

  ofV6 = parts: {
    key = "6" + concatStringsSep "" (map (text.hex 4) parts);
    text = ipv6Text parts;
    groups = parts;
  };

  unusable =
    address:
    let
      octet = elemAt address.octets;
      group = elemAt address.groups;
      v4 = address ? octets;
      zeros = n: builtins.all (position: group position == 0) (genList (n: n) n);
    in
    if address.text == "0.0.0.0" || address.text == "::" then
      "it is the unspecified address"
    else if (v4 && octet 0 == 127) || address.text == "::1" then
      "it is a loopback address, which means another host to everybody who resolves it"
    else if (if v4 then octet 0 >= 224 && octet 0 < 240 else group 0 >= 65280) then
      "it is a multicast address"
    else if (if v4 then octet 0 == 169 && octet 1 == 254 else group 0 >= 65152 && group 0 < 65216) then
      "it is a link-local address, which means nothing without its link; leave it out"
    else if (if v4 then address.text == "255.255.255.255" else zeros 5 && group 5 == 65535) then
      "it is a broadcast or an IPv4-mapped address"
    else
      null;

  # Prefix lengths have one spelling: no sign, no leading zero.
  prefixLength =
    limit: written:
    if match "0|[1-9][0-9]?[0-9]?" written == null || text.number 10 written > limit then
      null
    else
      text.number 10 written;

  power = exponent: if exponent == 0 then 1 else 2 * power (exponent - 1);

  # The part of an IPv4 address that its network leaves to hosts.
  hostPart =
    bits: octets:
    let
      value = foldl' (sum: octet: sum * 256 + octet) 0 octets;
      size = power bits;
    in
    {
      isNetwork = value - (value / size) * size == 0;
      isBroadcast = value - (value / size) * size == size - 1;
    };
in
rec {
  # The address without a judgement; null when it is none.
  parse =
    written:
    let
      v4 = ipv4 written;
      v6 = ipv6 written;
    in
    if v4 != null then
      ofV4 v4
    else if match "[0-9a-fA-F:.]*:[0-9a-fA-F:.]*" written != null && v6 != null then
      ofV6 v6
    else
      null;

  # A host's address, with or without its prefix length.
  parseHost =
    written:
    let
      parts = text.splitOnce "/" written;
      address = parse (if parts == null then written else parts.before);
      bits = prefixLength (if address ? octets then 32 else 128) parts.after;
      why = unusable address;
      host = hostPart (32 - bits) address.octets;
      bad = why: { error = errors.badAddress written why; };
    in
    if address == null then
      bad "wanted is an IPv4 or IPv6 address, such as 10.0.0.11/24"
    else if parts != null && bits == null then
      bad "wanted is an IPv4 or IPv6 address with its prefix length, such as 10.0.0.11/24"
    else if why != null then
      bad why
    else if parts != null && address ? octets && bits <= 30 && host.isNetwork then
      bad "it is the network itself; write the host's own address"
    else if parts != null && address ? octets && bits <= 30 && host.isBroadcast then
      bad "it is the broadcast address of its network"
    else
      {
        ok = address;
      };

  # The text of an address with that key.
  ofKey =
    key:
    let
      digits = width: n: text.number 16 (substring (1 + n * width) width key);
    in
    if substring 0 1 key == "4" then
      (ofV4 (genList (digits 2) 4)).text
    else
      (ofV6 (genList (digits 4) 8)).text;

  # The prefix length that is written behind an address; null when there is none.
  prefixLengthOf =
    written:
    let
      parts = text.splitOnce "/" written;
    in
    if parts == null then null else prefixLength 128 parts.after;

  # `11.0.0.10.in-addr.arpa` (RFC 1035 §3.5), or 32 nibbles below `ip6.arpa` (RFC 3596 §2.5).
  reverseName =
    address:
    if address ? octets then
      "${concatStringsSep "." (map toString (reverse address.octets))}.in-addr.arpa"
    else
      "${concatStringsSep "." (reverse (text.characters (substring 1 (-1) address.key)))}.ip6.arpa";

  # The address that a name in the reverse tree stands for; null when it is no such name.
  ofReverseName =
    name:
    let
      octets = text.dropSuffix ".in-addr.arpa" name;
      nibbles = text.dropSuffix ".ip6.arpa" name;
      digits = reverse (text.splitAt "." nibbles);
      group = n: concatStringsSep "" (genList (k: elemAt digits (4 * n + k)) 4);
      address =
        if octets != null then
          parse (concatStringsSep "." (reverse (text.splitAt "." octets)))
        else if
          nibbles != null
          && length digits == 32
          && builtins.all (digit: match "[0-9a-f]" digit != null) digits
        then
          ofV6 (genList (n: text.number 16 (group n)) 8)
        else
          null;
    in
    # Only the one canonical spelling.
    if address != null && reverseName address == name then address else null;

  # A MAC address (EUI-48) of one station in lower case with colons.
  parseMac =
    written:
    let
      octets = text.splitAt ":-" written;
      good = octet: match "[0-9a-fA-F]{2}" octet != null;
      mac = text.lower (concatStringsSep ":" octets);
      first = text.number 16 (text.lower (builtins.head octets));
      group = first - (first / 2) * 2 == 1;
    in
    if length octets != 6 || !builtins.all good octets || group || mac == "00:00:00:00:00:00" then
      { error = errors.badMac written; }
    else
      { ok = mac; };

  reverse =
    list:
    let
      count = length list;
    in
    genList (n: elemAt list (count - 1 - n)) count;
}
