//! Roles, and what each may do.

use keyledger_events::TokenRole;

/// What an access token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do all.
    Operator,
    /// The platform's own services: reserves, charges, releases.
    Metering,
    /// Gives credits, takes charges back, sets prices, reads all.
    Billing,
    /// Reads everything, changes nothing.
    Auditor,
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Open accounts; make, rename and delete keys.
    Manage,
    /// Hold, charge and release credits.
    Meter,
    /// Give credits, take charges back.
    Grant,
    /// See accounts, keys, balances, billing lines, prices and the log.
    Read,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Operator, Role::Metering, Role::Billing, Role::Auditor];

    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Metering => "metering",
            Role::Billing => "billing",
            Role::Auditor => "auditor",
        }
    }

    /// As the log names it.
    pub const fn recorded(self) -> TokenRole {
        match self {
            Role::Operator => TokenRole::Operator,
            Role::Metering => TokenRole::Metering,
            Role::Billing => TokenRole::Billing,
            Role::Auditor => TokenRole::Auditor,
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == text)
    }

    pub const fn may(self, right: Right) -> bool {
        match (self, right) {
            (Role::Operator, Right::Manage | Right::Meter | Right::Grant | Right::Read)
            | (Role::Metering, Right::Meter)
            | (Role::Billing, Right::Grant | Right::Read)
            | (Role::Auditor, Right::Read) => true,
            (Role::Metering, Right::Manage | Right::Grant | Right::Read)
            | (Role::Billing, Right::Manage | Right::Meter)
            | (Role::Auditor, Right::Manage | Right::Meter | Right::Grant) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_and_no_other_text_is_one() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(role.recorded().as_str(), role.as_str());
        }
        assert_eq!(Role::parse("Operator"), None);
    }

    #[test]
    fn an_auditor_changes_nothing() {
        assert!(Role::Auditor.may(Right::Read));
        for right in [Right::Manage, Right::Meter, Right::Grant] {
            assert!(!Role::Auditor.may(right), "{right:?}");
        }
    }

    #[test]
    fn a_metering_token_that_leaks_shows_nobody_the_customers() {
        assert!(!Role::Metering.may(Right::Read));
    }
}
