//! NixOS delivery: observe, evaluate, build, sign, copy, activate.

mod error;
mod evaluate;
mod nix;
mod process;
mod source;
mod store_path;

pub use error::{Error, ParseError, Refusal};
pub use evaluate::{Attribute, AttributeError, Evaluation, Toplevel};
pub use nix::{Limits, Nix, NixVersion, Tools};
pub use source::{At, FlakeUrl, GitRef, LockedSource, NarHash, Rev, Source};
pub use store_path::{DerivationPath, StorePath};
