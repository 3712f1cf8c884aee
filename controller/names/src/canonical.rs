//! One spelling of an inventory, so that equal ones have equal text and hash.

use crate::{
    Fqdn, Hierarchy, Label, Selector,
    inventory::{Inventory, Machine, Service},
};

impl Inventory {
    /// The inventory as JSON in its only spelling; its SHA-256 identifies what was described.
    ///
    /// The form is that of the types of [`crate::inventory`] in camel case, with every field present
    /// (`null` where there is nothing), keys sorted and no white space. `builtins.toJSON` of Nix writes
    /// the same bytes after `builtins.fromJSON`, so that both sides can take the hash.
    ///
    /// - Names and selectors are in canonical spelling, other scripts as A-labels (RFC 5891), as far as
    ///   they can be read; what cannot is as written. Whoever reads this form needs no tables of IDNA.
    /// - Clusters, machines and services are sorted by source, unless their order decides who keeps
    ///   a contested name or address; then it is part of the meaning and stays.
    /// - Lists within one resource stay in the order in which their author wrote them.
    ///
    /// Both give the same [`Hierarchy`] as the inventory itself.
    ///
    /// ```json
    /// {"clusters":[{"label":"core","source":"Cluster/home/core"}],
    ///  "domain":{"source":"Domain/home/example-com","suffix":"example.com",
    ///            "zones":[{"name":"example.com","ttl":300}]},
    ///  "machines":[{"cluster":"Cluster/home/core","host":null,
    ///               "interfaces":[{"addresses":["10.0.0.11/24"],"mac":null,"name":"eno1"}],
    ///               "label":"host1","labels":{"canary":""},"primaryInterface":null,
    ///               "source":"Machine/home/host1","virtualHosts":[]}],
    ///  "services":[{"cluster":"Cluster/home/core","dependsOn":[],"label":"vault",
    ///               "roles":[{"cardinality":{"max":null,"min":1},"name":"api",
    ///                         "ports":[{"name":"http","port":8200,"protocol":"tcp"}],
    ///                         "selectors":["host1"]}],
    ///               "source":"Service/home/vault"}]}
    /// ```
    pub fn canonical_json(&self) -> String {
        let mut value = serde_json::json!(self.canonical());
        // Sorted already, unless some other crate of the program asked serde_json to keep orders.
        value.sort_all_objects();
        value.to_string()
    }

    fn canonical(&self) -> Self {
        let mut spelled = self.clone();
        spelled.spell();
        let mut sorted = spelled.clone();
        sorted.clusters.sort_by(|a, b| a.source.cmp(&b.source));
        sorted.machines.sort_by(|a, b| a.source.cmp(&b.source));
        sorted.services.sort_by(|a, b| a.source.cmp(&b.source));
        if Hierarchy::build(&sorted) == Hierarchy::build(self) { sorted } else { spelled }
    }

    fn spell(&mut self) {
        respell(&mut self.domain.suffix, |written| Fqdn::parse_host(written).ok());
        for zone in &mut self.domain.zones {
            respell(&mut zone.name, |written| Fqdn::parse(written).ok());
        }
        self.clusters.iter_mut().for_each(|cluster| spell_label(&mut cluster.label));
        self.machines.iter_mut().for_each(Machine::spell);
        self.services.iter_mut().for_each(Service::spell);
    }
}

impl Machine {
    // Interfaces keep the names that the kernel gives them.
    fn spell(&mut self) {
        spell_label(&mut self.label);
        self.virtual_hosts.iter_mut().for_each(|host| spell_label(&mut host.name));
    }
}

impl Service {
    fn spell(&mut self) {
        spell_label(&mut self.label);
        for role in &mut self.roles {
            spell_label(&mut role.name);
            for selector in &mut role.selectors {
                respell(selector, |written| written.parse::<Selector>().ok());
            }
        }
    }
}

fn spell_label(text: &mut String) {
    respell(text, |written| Label::parse(written).ok());
}

fn respell<T: ToString>(text: &mut String, parse: impl FnOnce(&str) -> Option<T>) {
    if let Some(parsed) = parse(text) {
        *text = parsed.to_string();
    }
}
