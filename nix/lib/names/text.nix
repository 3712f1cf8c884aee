# Text, with builtins only. Nix strings are bytes; everything here is about ASCII.
let
  inherit (builtins)
    concatStringsSep
    filter
    foldl'
    genList
    isString
    length
    listToAttrs
    replaceStrings
    split
    stringLength
    substring
    ;
in
rec {
  upperLetters = characters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  lowerLetters = characters "abcdefghijklmnopqrstuvwxyz";

  lower = replaceStrings upperLetters lowerLetters;

  # The bytes of a text, each as a string.
  characters = text: genList (position: substring position 1 text) (stringLength text);

  # `separator` is one character without a meaning in regular expressions, or in brackets.
  splitAt = separator: text: filter isString (split "[${separator}]" text);

  # What stands before and behind the first `separator`; null when there is none.
  splitOnce =
    separator: text:
    let
      parts = splitAt separator text;
      first = builtins.head parts;
    in
    if length parts < 2 then
      null
    else
      {
        before = first;
        after = concatStringsSep separator (builtins.tail parts);
      };

  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;

  hasSuffix =
    suffix: text:
    let
      begin = stringLength text - stringLength suffix;
    in
    begin >= 0 && substring begin (-1) text == suffix;

  # The text without that end; null when it ends otherwise.
  dropSuffix =
    suffix: text:
    if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else null;

  hexDigits = listToAttrs (
    genList (value: {
      name = substring value 1 "0123456789abcdef";
      inherit value;
    }) 16
  );

  # The number that digits in base 10 or 16 write; they are known to be digits, in lower case.
  number = base: digits: foldl' (sum: digit: sum * base + hexDigits.${digit}) 0 (characters digits);

  # A number below 16^width as that many hexadecimal digits.
  hex =
    width: value:
    let
      last = value - (value / 16) * 16;
    in
    if width == 0 then "" else hex (width - 1) (value / 16) + substring last 1 "0123456789abcdef";

  sortStrings = builtins.sort builtins.lessThan;

  # Each once, sorted.
  unique =
    texts:
    builtins.attrNames (
      listToAttrs (
        map (name: {
          inherit name;
          value = null;
        }) texts
      )
    );
}
