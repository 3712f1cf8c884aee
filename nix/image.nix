# The controller's container image: the binary and the three tools it drives (nix, git, ssh).
{
  dockerTools,
  cim-controller,
  nix,
  git,
  openssh,
  cacert,
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
    cacert
    coreutils
  ];
  # ssh refuses to run for a user without an entry in passwd.
  fakeRootCommands = ''
    mkdir -p etc tmp var/lib/cim
    echo 'cim:x:65532:65532:cim-controller:/var/lib/cim:/bin/false' > etc/passwd
    echo 'cim:x:65532:' > etc/group
    chmod 1777 tmp
    chown -R 65532:65532 var/lib/cim nix
  '';
  enableFakechroot = true;
  config = {
    Entrypoint = [ "/bin/cim-controller" ];
    User = "65532:65532";
    WorkingDir = "/var/lib/cim";
    Env = [
      "HOME=/var/lib/cim"
      "PATH=/bin"
      "NIX_SSL_CERT_FILE=${cacert}/etc/ssl/certs/ca-bundle.crt"
      "NIX_CONFIG=experimental-features = nix-command flakes"
    ];
  };
}
