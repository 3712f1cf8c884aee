//! NixOS delivery: observe, evaluate, build, sign, copy, activate.
