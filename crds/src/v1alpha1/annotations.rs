//! Metadata by which people speak to the controller, and the one finalizer by which it holds an
//! object until what it owns outside has been dealt with.

/// Reconcile now. Any value that was not handled before counts; the controller echoes it in
/// `status.lastHandledReconcileAt`.
pub const REQUESTED_AT: &str = "cim.dev/requestedAt";
/// The same wish in the words of Flux (`flux reconcile`), honoured alike.
pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Take over an existing outside thing, given by its external id. Without it, what the controller
/// did not create is only reported.
pub const ADOPT: &str = "cim.dev/adopt";
/// Release a held plan, given by its hash (`status.plan.hash`).
pub const CONFIRM: &str = "cim.dev/confirm";
/// Suspend this object whatever its spec says, as long as the annotation is there.
pub const PAUSED: &str = "cim.dev/paused";
/// The finalizer of every kind.
pub const FINALIZER: &str = "cim.dev/finalizer";
/// Machine, Cluster: try again what failed: a closure that was rolled back, a rollout that was
/// aborted. Any new value does; `cimctl reconcile --retry` writes one.
pub const RETRY: &str = "cim.dev/retry";
