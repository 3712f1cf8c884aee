# References between resources: the host of a guest, what a service depends on. They give nothing a
# name, but one that leads nowhere or in a circle can never come true.
{ text, errors }:
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    listToAttrs
    ;
  shortestCycle = import ./cycle.nix;

  check =
    field: resources: targets:
    let
      edges = listToAttrs (
        map (resource: {
          name = resource.source;
          value = text.unique (targets resource);
        }) resources
      );
      problem =
        source: error:
        {
          inherit source field;
          element = null;
        }
        // error;
      missing =
        resource:
        map (wanted: problem resource.source (errors.noReference wanted)) (
          filter (wanted: !(edges ? ${wanted})) (targets resource)
        );
      circular =
        source:
        let
          path = shortestCycle edges source;
        in
        if path == null then [ ] else [ (problem source (errors.referenceCycle path)) ];
    in
    concatMap missing resources ++ concatMap circular (attrNames edges);
in
inventory:
check "host" inventory.machines (machine: if machine.host == null then [ ] else [ machine.host ])
++ check "dependsOn" inventory.services (service: service.dependsOn)
