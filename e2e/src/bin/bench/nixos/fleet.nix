# The flake of the lab's hosts, for a fleet: what a release changes is in `message`, and comes with a
# program of 2 MB that all machines share.
{
  description = "A fleet that answers over HTTP";

  outputs =
    { self }:
    let
      busybox = "${./bin}/busybox";
      message = builtins.replaceStrings [ "\n" ] [ "" ] (builtins.readFile ./message);
      program = derivation {
        name = "program";
        system = "x86_64-linux";
        builder = busybox;
        PATH = "";
        inherit busybox message;
        args = [
          "sh"
          "-euc"
          ''"$busybox" cat "$busybox" > "$out" && echo "$message" >> "$out"''
        ];
      };
      machine = name: {
        inherit name;
        value.config.system.build.toplevel =
          (import ./toplevel {
            inherit name busybox;
            page = "${name}: ${message} by ${program}";
          }).toplevel;
      };
    in
    {
      nixosConfigurations = builtins.listToAttrs (
        builtins.genList (n: machine "m${toString (n + 1)}") 200
      );
    };
}
