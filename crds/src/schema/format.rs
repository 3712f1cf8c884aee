//! What strings look like. On a list a format holds for each item.
//!
//! A format bounds the length, and is checked by a CEL rule rather than by `pattern`: a rule says in
//! words what is wanted where a pattern only shows itself. What a regular expression cannot tell
//! (whether a date exists, a key decodes) is left to the reconcilers.

use schemars::Schema;
use serde_json::{Value, json};

use super::rules::add_rule;

/// Labels joined by dots; underscores are left to service records.
const NAME: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// Bounds a string to `max` characters and, unless it is free text, to what `rule` and `message` say.
fn string(schema: &mut Schema, max: usize, rule: Option<(String, &str)>) {
    let object = schema.ensure_object();
    let target = match object.get_mut("items") {
        Some(Value::Object(items)) => items,
        _ => object,
    };
    target.insert("maxLength".into(), json!(max));
    if let Some((rule, message)) = rule {
        add_rule(target, json!({"rule": rule, "message": message}));
    }
}

/// A string that matches the regular expression as a whole. `wanted` completes "must be …".
fn like(schema: &mut Schema, max: usize, regex: &str, wanted: &str) {
    string(schema, max, Some((matches(regex), wanted)));
}

fn matches(regex: &str) -> String {
    // A raw string of CEL; none of the expressions contains a double quote.
    format!(r#"self.matches(r"^({regex})$")"#)
}

/// Free text of at most `max` characters.
pub(crate) fn text(max: usize) -> impl Fn(&mut Schema) {
    move |schema| string(schema, max, None)
}

/// A format used in one place: at most `max` characters that match `regex`; `wanted` says so in words.
pub(crate) fn pattern(
    max: usize,
    regex: &'static str,
    wanted: &'static str,
) -> impl Fn(&mut Schema) {
    move |schema| like(schema, max, regex, wanted)
}

/// Where SSH goes.
pub(crate) fn ssh_host_name(schema: &mut Schema) {
    like(
        schema,
        253,
        "[A-Za-z0-9:][A-Za-z0-9.:-]*",
        "must be an address or a name, such as 10.0.0.11 or host1.example.com",
    );
}

/// A user of a Linux.
pub(crate) fn user_name(schema: &mut Schema) {
    like(
        schema,
        32,
        "[a-z_][a-z0-9_-]*",
        "must be a user name: lower-case letters, digits, _ and -, not beginning with a digit",
    );
}

/// One DNS label (RFC 1123).
pub(crate) fn dns_label(schema: &mut Schema) {
    like(
        schema,
        63,
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
        "must be a DNS label: lower-case letters, digits and -, beginning and ending with a letter or digit",
    );
}

/// A DNS name without trailing dot; also the name of an object.
pub(crate) fn dns_name(schema: &mut Schema) {
    like(
        schema,
        253,
        NAME,
        "must be a lower-case name of DNS labels joined by dots, without trailing dot, such as host1 or www.example.com",
    );
}

/// The suffix of a Domain: short enough for names below it.
pub(crate) fn suffix(schema: &mut Schema) {
    like(
        schema,
        200,
        NAME,
        "must be a lower-case name of DNS labels joined by dots, without trailing dot, such as example.com",
    );
}

/// A selector, as `cim_names::Selector` reads it.
pub(crate) fn selector(schema: &mut Schema) {
    let kinds = "domain|cluster|service|role|machine|interface|host";
    let label = "label/[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?(=[A-Za-z0-9_.-]{0,63})?";
    like(
        schema,
        317,
        &format!(r"(({kinds})/)?{NAME}\.?|{label}"),
        "must be a selector: a name (host1, host1.core.example.com), KIND/NAME with a KIND of domain, cluster, service, role, machine, interface or host (machine/host1), or label/KEY[=VALUE]",
    );
}

/// The name of a port, as SRV records carry it (RFC 6335 §5.1).
pub(crate) fn port_name(schema: &mut Schema) {
    like(
        schema,
        15,
        "([0-9]+-?)*[a-z](-?[a-z0-9])*",
        "must be a service name: lower-case letters, digits and single -, with at least one letter, such as http",
    );
}

/// An interface, as the Linux kernel names it.
pub(crate) fn interface_name(schema: &mut Schema) {
    like(
        schema,
        15,
        "[A-Za-z0-9][A-Za-z0-9_.:-]*",
        "must be the name of an interface: letters, digits, _ . : and -, beginning with a letter or digit, such as eno1",
    );
}

/// An IP address.
pub(crate) fn ip(schema: &mut Schema) {
    let wanted = "must be an IP address, such as 10.0.0.21 or fd00::21";
    string(schema, 45, Some(("isIP(self)".into(), wanted)));
}

/// An IP address with prefix length, or a network.
pub(crate) fn cidr(schema: &mut Schema) {
    let wanted = "must be an IP address with prefix length, such as 10.0.0.11/24 or fd00::11/64";
    string(schema, 49, Some(("isCIDR(self)".into(), wanted)));
}

/// An IP address and a port.
pub(crate) fn socket_address(schema: &mut Schema) {
    let shape = matches(r"([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}");
    let address = "self.substring(0, self.lastIndexOf(':')).replace('[', '').replace(']', '')";
    let port = "int(self.substring(self.lastIndexOf(':') + 1))";
    string(
        schema,
        64,
        Some((
            format!("{shape} && isIP({address}) && {port} >= 1 && {port} <= 65535"),
            "must be ADDRESS:PORT with an IP address and a port of 1 to 65535, such as 10.0.0.53:53 or [fd00::53]:53",
        )),
    );
}

/// A web address.
pub(crate) fn http_url(schema: &mut Schema) {
    like(
        schema,
        512,
        r"https?://[^\s/]+(/[^\s]*)?",
        "must be a URL that begins with http:// or https://",
    );
}

/// A NATS server.
pub(crate) fn nats_url(schema: &mut Schema) {
    like(
        schema,
        253,
        r"(nats|tls)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?",
        "must be nats://HOST[:PORT] or tls://HOST[:PORT], such as nats://10.0.0.4:4222",
    );
}

/// A NATS subject, with wildcards.
pub(crate) fn subject(schema: &mut Schema) {
    like(
        schema,
        255,
        r">|(\*|[^\s.*>]+)(\.(\*|[^\s.*>]+))*(\.>)?",
        "must be a NATS subject: tokens joined by dots, * for any one token, > at the end for all that follow, such as evt.web.>",
    );
}

/// The name of a NATS account, stream or bucket.
pub(crate) fn nats_name(schema: &mut Schema) {
    like(schema, 64, "[A-Za-z0-9_-]+", "must be a name of letters, digits, _ and -");
}

/// A git commit.
pub(crate) fn git_rev(schema: &mut Schema) {
    like(schema, 64, "[0-9a-f]{40}", "must be a full commit id: 40 lower-case hexadecimal digits");
}

/// The SHA-256 of a NAR, as SRI.
pub(crate) fn nar_hash(schema: &mut Schema) {
    like(
        schema,
        128,
        "sha256-[A-Za-z0-9+/]{43}=",
        "must be an SRI hash as in flake.lock: sha256- and 44 characters of base64",
    );
}

/// A git ref that may move.
pub(crate) fn git_ref(schema: &mut Schema) {
    like(
        schema,
        253,
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*",
        "must be a branch or tag, such as main or refs/tags/v1",
    );
}

/// A flake reference without revision.
pub(crate) fn flake(schema: &mut Schema) {
    like(
        schema,
        512,
        r"(git|git\+(https|ssh|http|git|file)|github|gitlab|sourcehut|https|tarball\+https|path):[^\s?]+(\?[^\s]*)?",
        "must be a flake reference without revision, such as git+https://git.example.com/infra or github:owner/repository",
    );
}

/// An SSH public host key, as type, base64 and perhaps a comment.
pub(crate) fn ssh_host_key(schema: &mut Schema) {
    like(
        schema,
        1024,
        r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com) [A-Za-z0-9+/]+={0,2}( [^\n]*)?",
        "must be a public host key: its type (ssh-ed25519, ecdsa-sha2-nistp256, …384, …521 or ssh-rsa), a space, and base64, as ssh-keyscan prints it after the host",
    );
}

/// A UUID.
pub(crate) fn uuid(schema: &mut Schema) {
    like(
        schema,
        36,
        "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "must be a UUID, such as 5a4981aa-9653-4bd1-bef5-d6bff52042e4",
    );
}

/// A word that some provider understands.
pub(crate) fn word(max: usize) -> impl Fn(&mut Schema) {
    pattern(max, r"[A-Za-z0-9_().-]+", "must be of letters, digits, _ . - and parentheses")
}

/// A span of time.
pub(crate) fn duration(schema: &mut Schema) {
    let shape = matches("([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?");
    string(
        schema,
        28,
        Some((
            format!("self != '' && {shape}"),
            "must be a duration of whole days, hours, minutes and seconds, such as 30s, 5m, 1h30m or 30d",
        )),
    );
}
