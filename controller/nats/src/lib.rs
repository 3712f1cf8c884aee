//! NATS operator, accounts and users: claims, push, read back.
