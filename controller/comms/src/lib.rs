//! Message envelope, event subjects and claim check over NATS.
