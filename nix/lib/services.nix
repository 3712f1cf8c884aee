# How a service is installed, as its owner gives it:
#
#   null                                    it is not installed by this configuration
#   a function                              its definition
#   a flake with the output `cimService`    its definition, or `{ definition, config, roles }`
#   { flake, narHash, definition, config, roles }
#
# `config` is what the definition is configured with, `roles.<role>.config` more of it for one role. A
# flake is accepted only with a hash: that of a lock file, or one that is given beside it.
{ names }:
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    isAttrs
    isFunction
    ;

  known = [
    "config"
    "definition"
    "flake"
    "narHash"
    "roles"
  ];

  # A flake has outputs and the place where its source is.
  isFlake = value: isAttrs value && value ? outPath && value ? sourceInfo;

  explicit =
    written:
    if isFlake written then
      { flake = written; }
    else if isFunction written || (isAttrs written && written ? __functor) then
      { definition = written; }
    else
      written;

  # The hash of a flake's source; null when nobody vouches for it.
  narHashOf = flake: flake.narHash or flake.sourceInfo.narHash or null;
  pinned = flake: narHashOf flake != null || (flake.rev or flake.sourceInfo.rev or null) != null;

  # Why a flake is not accepted; null when it is.
  refusal =
    {
      flake,
      narHash ? null,
      ...
    }:
    if !isFlake flake then
      {
        reason = "BadService";
        message = "its `flake` is none; wanted is an input of your flake, such as inputs.vault";
      }
    else if narHash != null && narHashOf flake != narHash then
      {
        reason = "HashMismatch";
        message = "its flake has the hash ${toString (narHashOf flake)}, wanted is ${narHash}";
      }
    else if !pinned flake then
      {
        reason = "NoHash";
        message = "its flake has neither narHash nor rev, so nobody knows what it will be tomorrow; make it an input with an entry in flake.lock";
      }
    else if !(flake ? cimService) then
      {
        reason = "BadService";
        message = "its flake has no output `cimService`; give `definition` beside `flake`, or add the output";
      }
    else
      null;

  # The wrong part, if any, of an explicit description.
  wrong =
    written:
    let
      strange = filter (field: !builtins.elem field known) (attrNames written);
      refused = refusal (
        written
        // {
          flake = written.flake // {
            cimService = null;
          };
        }
      );
    in
    if !isAttrs written then
      {
        reason = "BadService";
        message = "it is a ${builtins.typeOf written}; wanted is a function, a flake, or an attribute set with ${concatStringsSep ", " known}";
      }
    else if strange != [ ] then
      {
        reason = "BadService";
        message = "nothing reads ${concatStringsSep ", " strange}; known are ${concatStringsSep ", " known}";
      }
    else if written ? flake then
      if isFlake written.flake && written ? definition then refused else refusal written
    else if !(written ? definition) then
      {
        reason = "BadService";
        message = "it has neither `definition` nor `flake`";
      }
    else
      null;
in
{
  # Stands for a service of which nobody said anything.
  missing = {
    missing = true;
  };

  # A service of the hierarchy with what its owner gives: `{ definition, config, roles, problems }`.
  # The definition is null where there is nothing to install.
  accept =
    { name, resource, ... }:
    given:
    let
      written = explicit given;
      problem =
        error:
        {
          inherit (resource) source;
          field = "definition";
          element = name;
        }
        // error;
      nothing = problems: {
        definition = null;
        config = { };
        roles = { };
        inherit problems;
      };
      missing = {
        reason = "NoDefinition";
        message = "nobody said how ${name} is installed; give `services` an entry with that name, its short name or its label, or null if it is not installed from here";
      };
      error = wrong written;
      own = explicit (written.flake.cimService or { });
      of = field: default: written.${field} or own.${field} or default;
    in
    if given == null then
      nothing [ ]
    else if isAttrs given && given ? missing then
      # Without roles there is nothing to install.
      nothing (if resource.roles == [ ] then [ ] else [ (problem missing) ])
    else if error != null then
      nothing [ (problem error) ]
    else
      {
        definition = of "definition" null;
        config = (own.config or { }) // (written.config or { });
        roles = (own.roles or { }) // (written.roles or { });
        problems = [ ];
      };

  configOf = service: role: service.config // (service.roles.${role}.config or { });
}
