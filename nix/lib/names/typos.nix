# How many slips apart two texts are: insertions, deletions, replacements, and swaps of neighbours
# (optimal string alignment distance).
{ text }:
a: b:
let
  inherit (builtins)
    elemAt
    foldl'
    genList
    length
    ;
  left = text.characters a;
  right = text.characters b;
  min = x: y: if x < y then x else y;

  # The distances of the first `i` characters of `a` to each beginning of `b`, from the two rows above.
  row =
    i: above: twoAbove:
    foldl' (
      row: j:
      let
        here = elemAt left (i - 1);
        there = elemAt right (j - 1);
        step = min (min (elemAt above j + 1) (elemAt row (j - 1) + 1)) (
          elemAt above (j - 1) + (if here == there then 0 else 1)
        );
        swapped = i > 1 && j > 1 && here == elemAt right (j - 2) && there == elemAt left (i - 2);
      in
      row ++ [ (if swapped then min step (elemAt twoAbove (j - 2) + 1) else step) ]
    ) [ i ] (genList (n: n + 1) (length right));

  last =
    foldl'
      (
        { above, twoAbove }:
        i: {
          above = row i above twoAbove;
          twoAbove = above;
        }
      )
      {
        above = genList (n: n) (length right + 1);
        twoAbove = [ ];
      }
      (genList (n: n + 1) (length left));
in
elemAt last.above (length right)
