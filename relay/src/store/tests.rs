//! The store: order, quotas, expiry, failures of the disk.
