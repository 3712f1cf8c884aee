# The controller and cimctl, from the workspace's own lock file.
{
  lib,
  rustPlatform,
}:
rustPlatform.buildRustPackage {
  pname = "cim-controller";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../crds
      ../controller
      ../e2e
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  cargoBuildFlags = [
    "--package=cim-manager"
    "--package=cim-cli"
  ];
  # The cases want root and network namespaces; `cargo test` runs them outside of the sandbox.
  doCheck = false;

  meta = {
    description = "Keeps a private domain true: machines, names, messaging accounts and data copies";
    license = with lib.licenses; [
      asl20
      mit
    ];
    mainProgram = "cim-controller";
    platforms = lib.platforms.linux;
  };
}
