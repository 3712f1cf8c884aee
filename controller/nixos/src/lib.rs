//! NixOS delivery: from a commit in a git repository to the closure that a machine runs.
//!
//! ```text
//! Source ──resolve──▶ LockedSource ──evaluate──▶ Toplevel per machine ──build──▶ closure
//!                                                                                  │
//! Host ──observe──▶ Observed ──plan(Desired)──▶ Plan<Change> ──apply──▶ sign, copy, activate
//!                       ▲                                                          │
//!                       └───────────────────────── read back ◀─────────────────────┘
//! ```
//!
//! The left half happens once per commit, in the local Nix store ([`Nix`]); the right half once per
//! machine, over SSH ([`Hosts`]). [`plan`] is pure. The promotion key between the two is the
//! closure's store path.
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
mod nix;
mod observe;
mod plan;
mod private_dir;
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

pub use activation::{Action, Job, Outcome};
pub use apply::{Applied, Delivery, apply};
pub use build::{BuildLog, BuildOptions, Builder, Builders};
pub use error::{Error, ParseError, Refusal};
pub use evaluate::{
    Attribute, AttributeError, Configuration, Evaluation, EvaluationStats, InventoryHash,
    InventoryJson, Toplevel,
};
pub use nix::{Limits, Nix, NixVersion, Tools};
pub use observe::{Activation, HostState, Link, Observed, Presence, observe};
pub use plan::{Assessment, Change, Desired, SyncState, assess, plan};
pub use private_dir::PrivateDir;
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
