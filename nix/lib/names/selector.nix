# References to elements: `[kind/]name[.]`, or `label/key[=value]` for machines by a metadata label.
{
  text,
  fqdn,
  errors,
}:
let
  kinds = [
    "domain"
    "cluster"
    "service"
    "role"
    "machine"
    "interface"
    "host"
  ];

  parseLabel =
    bad: written:
    let
      parts = text.splitOnce "=" written;
      key = if parts == null then written else parts.before;
    in
    if key == "" then
      bad "wanted is label/KEY or label/KEY=VALUE"
    else
      {
        ok = {
          label = key;
          value = if parts == null then null else parts.after;
          text = "label/${written}";
        };
      };

  parseName =
    bad: kind: written:
    let
      relative = text.dropSuffix "." written;
      absolute = relative != null;
      labels = fqdn.hostLabels (if absolute then relative else written);
      name = builtins.concatStringsSep "." labels.ok;
      prefix = if kind == null then "" else "${kind}/";
    in
    if kind != null && !builtins.elem kind kinds then
      bad "`${kind}` is not a kind; wanted is ${builtins.concatStringsSep ", " kinds} or label before the `/`"
    else if labels ? error then
      bad labels.error.message
    else
      {
        ok = {
          inherit kind name absolute;
          text = "${prefix}${name}${if absolute then "." else ""}";
        };
      };
in
{
  parse =
    written:
    let
      parts = text.splitOnce "/" written;
      bad = why: { error = errors.badSelector written why; };
    in
    if parts == null then
      parseName bad null written
    else if parts.before == "label" then
      parseLabel bad parts.after
    else
      parseName bad parts.before parts.after;
}
