//! The name hierarchy of a Domain, its selectors and its resolver.
//!
//! Everything that a Domain manages has a place in one tree, and its place is its name:
//!
//! ```text
//! domain                      example.com
//! └─ cluster                  core.example.com
//!    ├─ service               vault.core.example.com
//!    │  └─ role               api.vault.core.example.com
//!    └─ machine               host1.core.example.com
//!       ├─ interface          eno1.host1.core.example.com
//!       └─ virtual host       vm1.host1.core.example.com
//! ```
//!
//! The crate is pure: no clock, no network, no order of its own. The way through it:
//!
//! ```text
//! Inventory ──Hierarchy::build──> Hierarchy ──desired_records──> DesiredSet
//!  (text)                          │ resolve, find, names_of, members, tree
//!                                  └ problems: each names the resource, the field, and the remedy
//! ```
//!
//! # Building
//!
//! 1. The suffix of the Domain is read; when it is no name there are no elements.
//! 2. Clusters, then machines (each with its interfaces, then its virtual hosts), then services (each
//!    with its roles) get their names, in the order of the inventory. The name of an element is its
//!    label, a dot, and its parent's name. A label is spelled as [`Label::parse`] says, that of an
//!    interface as [`Label::of_interface`] says. An element with a bad or taken name is left out, with
//!    all below it.
//! 3. On the way each interface and virtual host claims its addresses, each interface its MAC. What is
//!    bad or taken is left out and makes the element *unsettled*.
//! 4. A machine's own addresses are those of its primary interface: the one it names, else the first
//!    that lists an address.
//! 5. Roles are placed: each selector is resolved in the role's service, the role itself never being
//!    the answer; the members are the union of what the selectors fall on. A role is placed when all
//!    its selectors resolve, it does not select itself through others, all roles that it selects are
//!    placed, and its number of members fits its cardinality. A role that is not placed has no
//!    addresses and is unsettled; so is a role with an unsettled member, and a service with an
//!    unsettled or refused role.
//! 6. References that name nothing (the host of a guest, what a service depends on), and what waits for
//!    itself through them, is reported; names do not depend on it.
//!
//! What a selected element falls on: a machine, an interface, a virtual host on itself; a role on its
//! members; a service on those of its roles; a cluster and the Domain on all machines in them. The
//! cardinality counts an interface as its machine and a virtual host as itself, and everybody once.
//!
//! # Selectors
//!
//! The syntax is that of [`Selector`]. What a name means depends on the element in which it stands,
//! its *scope*; those enclosing it are the scope itself, its parent, and so on up to the Domain. With a
//! kind prefix only elements of that kind exist for steps 1 to 3.
//!
//! 1. *Complete.* If the name is that of an element, it is that. A name with a final dot ends here.
//! 2. *As a search list.* For each enclosing element, innermost first: if the name, a dot, and that
//!    element's name are the name of an element, it is that.
//! 3. *By its beginning.* For each enclosing element, innermost first: the elements below it whose name
//!    relative to it begins with the given labels. The first enclosing element that has any decides:
//!    one is the answer, several are an error that lists them all.
//!
//! So from `vault.core.example.com` the name `host2` is `host2.core.example.com` by step 2, and `eno1`
//! is the only interface of that name in the cluster by step 3, or ambiguous. A complete name never
//! changes its meaning because something else was added, and an element's label always means it from
//! its parent.
//!
//! `label/key` and `label/key=value` mean all machines with that metadata label in the cluster around
//! the scope, or in the Domain where there is none around it. None is an answer too; cardinality is
//! what demands some.
//!
//! # When something is wrong
//!
//! A [`Problem`] harms its element and what depends on it, nothing else; [`Hierarchy::strict`] is for
//! those who want all or nothing. Since "refused" must not mean "deleted", the names whose records are
//! not certain are in [`DesiredSet::held`].

//!
//! ```
//! use cim_names::{Fqdn, Hierarchy, Inventory, RecordType, desired_records};
//!
//! let inventory: Inventory = serde_json::from_str(r#"{
//!     "domain": {"source": "Domain/home", "suffix": "example.com",
//!                "zones": [{"name": "example.com", "ttl": 300}]},
//!     "clusters": [{"source": "Cluster/core", "label": "core"}],
//!     "machines": [{"source": "Machine/host1", "cluster": "Cluster/core", "label": "host1",
//!                   "interfaces": [{"name": "eno1", "addresses": ["10.0.0.11/24"]}]}],
//!     "services": []
//! }"#)?;
//! let hierarchy = Hierarchy::strict(&inventory)?;
//! let found = hierarchy.resolve("host1", &Fqdn::parse("example.com")?)?;
//! assert_eq!(found.elements[0].name.as_str(), "host1.core.example.com");
//!
//! let set = desired_records(&hierarchy, &[], |_role, _member| true);
//! let name = Fqdn::parse("eno1.host1.core.example.com")?;
//! assert_eq!(set.records[&(name, RecordType::A)].values.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod build;
mod canonical;
mod cycle;
mod desired;
mod element;
mod error;
mod fqdn;
mod hierarchy;
pub mod inventory;
mod label;
mod place;
mod record;
mod references;
mod selector;
#[cfg(feature = "testkit")]
pub mod testkit;
mod tree;
mod zone;

pub use address::{Mac, address_of_reverse_name, host_address, reverse_name};
pub use desired::{DesiredSet, ExtraRecord, desired_records};
pub use element::{Element, Kind, Member, Role};
pub use error::{Error, Problem, Problems};
pub use fqdn::{Fqdn, MAX_NAME};
pub use hierarchy::{Hierarchy, Node, Resolution};
pub use inventory::{Inventory, Source};
pub use label::{Label, MAX_LABEL};
pub use record::{RecordSet, RecordType, RecordValue};
pub use selector::Selector;
