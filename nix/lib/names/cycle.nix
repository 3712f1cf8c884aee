# The shortest way from `start` back to itself along `edges` (an attribute set of sorted lists), or
# null; among equals the first in order.
edges: start:
let
  back =
    reachedFrom: node: path:
    if node == start then
      [ start ] ++ path
    else
      back reachedFrom reachedFrom.${node} ([ node ] ++ path);

  # One node of the queue after the other, breadth first.
  visit =
    { queue, reachedFrom }:
    let
      here = builtins.head queue;
      next = edges.${here} or [ ];
      fresh = builtins.filter (node: !(reachedFrom ? ${node})) next;
    in
    if queue == [ ] then
      null
    else if builtins.elem start next then
      back reachedFrom here [ start ]
    else
      visit {
        queue = builtins.tail queue ++ fresh;
        reachedFrom =
          reachedFrom
          // builtins.listToAttrs (
            map (name: {
              inherit name;
              value = here;
            }) fresh
          );
      };
in
visit {
  queue = [ start ];
  reachedFrom = { };
}
