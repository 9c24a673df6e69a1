//! Which part this replica has among those of its Deployment. Whoever asks whether it writes asks here.

use std::time::Duration;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// There is no other: replicas choose none of them.
    #[default]
    Sole,
    /// It is not known yet who leads.
    Candidate,
    /// This one, until then, unless it renews its Lease.
    Leader { until: Duration },
    /// Another one, which was last seen then.
    Standby { seen: Duration },
}

impl Role {
    /// Whether this replica is the one that writes.
    pub(crate) fn may_write(self, now: Duration) -> bool {
        match self {
            Self::Sole => true,
            Self::Leader { until } => now < until,
            Self::Candidate | Self::Standby { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_rival_writes_and_who_leads_does_until_its_lease_no_longer_counts() {
        let now = Duration::from_secs(40);
        let writes = [Role::Sole, Role::Leader { until: now + Duration::from_nanos(1) }];
        let does_not = [Role::Candidate, Role::Leader { until: now }, Role::Standby { seen: now }];
        assert!(writes.into_iter().all(|role| role.may_write(now)));
        assert!(!does_not.into_iter().any(|role| role.may_write(now)));
    }
}
