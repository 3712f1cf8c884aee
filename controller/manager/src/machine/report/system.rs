//! What a Machine is, as its status has room for it.

use cim_crds::machine::system::{Facts, System};
use cim_crds::{Machine, MachineStatus};
use cim_nixos::{HostState, Link};

pub(super) fn system(
    status: &MachineStatus,
    state: &HostState,
    facts: Option<&cim_nixos::Facts>,
) -> System {
    let path = |link: &Link| match link {
        Link::Missing => None,
        Link::Closure(path) => Some(path.to_string()),
        Link::Foreign(path) => Some(path.clone()),
    };
    let before = status.system.as_ref();
    let (kernel, nix_version) = match facts {
        Some(facts) => (facts.kernel.clone(), facts.nix_version.clone()),
        None => (
            before.and_then(|before| before.kernel.clone()),
            before.and_then(|before| before.nix_version.clone()),
        ),
    };
    System {
        current: path(&state.current),
        booted: path(&state.booted),
        profile: path(&state.profile),
        generation: state.generation.and_then(|number| u32::try_from(number).ok()),
        boot_id: Some(state.boot_id.clone()).filter(|id| !id.is_empty()),
        kernel: kernel.map(|kernel| short(&kernel, 128)),
        nix_version: nix_version.map(|version| short(&version, 64)),
    }
}

/// The facts that a status has room for. They come from the machine, so their lengths are anybody's.
pub(in crate::machine) fn told(facts: &cim_nixos::Facts) -> Facts {
    let text = |text: &Option<String>, max| text.as_deref().map(|text| short(text, max));
    Facts {
        system: text(&facts.system, 64),
        cpus: facts.cpus,
        memory_bytes: facts.memory_bytes,
        vendor: text(&facts.vendor, 128),
        model: text(&facts.model, 128),
        serial: text(&facts.serial, 128),
        virtualization: text(&facts.virtualization, 64),
    }
}

fn short(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

/// The declared addresses, without prefix length.
pub(super) fn addresses(machine: &Machine) -> Vec<String> {
    let interfaces = machine.spec.interfaces.iter().flat_map(|interface| &interface.addresses);
    let hosts = machine.spec.virtual_hosts.iter().flat_map(|host| &host.addresses);
    let mut addresses: Vec<String> = interfaces
        .chain(hosts)
        .filter_map(|address| address.split('/').next().map(str::to_owned))
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
