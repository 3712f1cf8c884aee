//! NixOS delivery: from a commit in a git repository to the closure that a machine runs.
//!
//! ```text
//! Source ──resolve──▶ LockedSource ──evaluate──▶ Toplevel per machine ──build──▶ closure
//!                                                                                  │
//! Host ──observe──▶ Observed ──plan(Desired, Health)──▶ Plan<Change> ──apply──▶ sign, copy, test
//!          ▲            ▲                                                          │
//!    probe, checks      └───────────────────────── read back ◀─────────────────────┘
//! ```
//!
//! The left half happens once per commit, in the local Nix store ([`Nix`]); the right half once per
//! machine, over SSH ([`Hosts`]). An activation is first only tested: the machine goes back by itself
//! unless a next plan, made with the result of the checks, confirms it. [`plan`] is pure. The promotion key between the two is the
//! closure's store path.
//!
//! Which machine takes a release when is decided by [`rollout`], and whether a release is the one that
//! was approved by [`promotion`]; both are pure.
//!
//! A machine that runs something else comes to its first system by [`install`]; what it is, is told by
//! [`facts()`].
//!
//! What a machine must have to be delivered to is in `controller/nixos/host`: an unprivileged deploy
//! user, and one helper that this user may run as root. The machine itself refuses what is not
//! signed by a key that it trusts; nothing here asks it not to.

mod activation;
mod apply;
mod build;
mod copy;
mod error;
mod evaluate;
mod facts;
mod helper;
pub mod install;
mod nix;
mod observe;
mod plan;
mod preview;
mod private_dir;
mod probe;
mod process;
mod progress;
pub mod promotion;
mod provenance;
pub mod rollout;
mod roots;
mod sign;
mod source;
mod ssh;
mod store_path;
mod verify;

pub use activation::{Action, Job, Outcome, Step};
pub use apply::{Applied, Delivery, apply};
pub use build::{BuildLog, BuildOptions, Builder, Builders};
pub use error::{Error, ParseError, Refusal};
pub use evaluate::{
    Attribute, AttributeError, Configuration, Evaluation, EvaluationStats, FlakeOutput,
    InstallParts, Installs, InventoryHash, InventoryJson, Toplevel,
};
pub use facts::{Disk, Facts, Interface, facts};
pub use nix::{Limits, Nix, NixVersion, Tools};
pub use observe::{
    Activation, HostState, Link, Observed, Pending, Presence, RollbackReason, RolledBack, Staged,
    observe,
};
pub use plan::{Assessment, Attempt, Change, Desired, Health, SyncState, assess, plan};
pub use preview::{DryActivation, preview};
pub use private_dir::PrivateDir;
pub use probe::{CheckOutcome, probe, run_check};
pub use progress::{Bytes, Count, Progress, ProgressSink};
pub use provenance::Provenance;
pub use roots::{Root, Roots};
pub use sign::{PublicKey, Signer, SigningKey};
pub use source::{
    Access, At, Credentials, FlakeUrl, GitRef, KnownHosts, LockedSource, NarHash, Password, Rev,
    Source,
};
pub use ssh::{Address, Host, HostKey, Hosts, PrivateKey, Target, User};
pub use store_path::{DerivationPath, StorePath};
pub use verify::{Integrity, verify};
