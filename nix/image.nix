# The controller's container image: the binary and the three tools that it drives (nix, git, ssh).
{
  dockerTools,
  cim-controller,
  nix,
  git,
  openssh,
  coreutils,
}:
dockerTools.buildLayeredImageWithNixDb {
  name = "cim-controller";
  tag = cim-controller.version;
  contents = [
    cim-controller
    nix
    git
    openssh
    # Where nix and git look for them when no variable tells.
    dockerTools.caCertificates
    # git runs ssh by it, and asks it for passwords.
    dockerTools.binSh
    coreutils
  ];
  # ssh refuses to run for a user without an entry in passwd.
  fakeRootCommands = ''
    mkdir -p etc tmp var/lib/cim-controller
    echo 'cim:x:65532:65532:cim-controller:/var/lib/cim-controller:/bin/false' > etc/passwd
    echo 'cim:x:65532:' > etc/group
    chmod 1777 tmp
    chown -R 65532:65532 var/lib/cim-controller nix
  '';
  enableFakechroot = true;
  config = {
    Entrypoint = [ "/bin/cim-controller" ];
    User = "65532:65532";
    WorkingDir = "/var/lib/cim-controller";
    Env = [
      "HOME=/var/lib/cim-controller"
      "PATH=/bin"
      "NIX_CONFIG=experimental-features = nix-command flakes"
    ];
  };
}
