# Everything that the lab would otherwise build, at hand.
{
  mkShell,
  cargo,
  clippy,
  rustc,
  rustfmt,
  cargo-deny,
  go,
  debootstrap,
  etcd,
  kubernetes,
  kubectl,
  kubernetes-helm,
  nats-server,
  prometheus,
  iproute2,
  util-linux,
}:
mkShell {
  packages = [
    cargo
    clippy
    rustc
    rustfmt
    cargo-deny
    go
    debootstrap
    etcd
    kubernetes
    kubectl
    kubernetes-helm
    nats-server
    prometheus
    iproute2
    util-linux
  ];
}
