//! The endpoints that a key is for, where it is not for all of them.
//!
//! Promise: one set has one order, that of the alphabet, so the same scopes have the same bytes.
//!
//! Not here: what a key that names none may do, and whether an endpoint has a price.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::Endpoint;

/// From 1 to [`Scopes::MAX`] endpoints, each once. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<Endpoint>")]
pub struct Scopes(Arc<[Endpoint]>);

/// Why a list cannot be the scopes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// A key for nothing could do nothing; one for everything has no scopes.
    #[error("must name an endpoint; leave it out for a key that is for all of them")]
    Empty,
    #[error("must have at most {max} endpoints")]
    TooMany { max: usize },
    #[error("must name each endpoint once")]
    Twice,
    #[error("must have endpoints only: 1 to 64 of a-z, 0-9, '_', '-', '.', beginning with a letter")]
    NotAnEndpoint,
}

impl Scopes {
    pub const MAX: usize = 64;

    /// Whether a key with these scopes is for this endpoint.
    pub fn allow(&self, endpoint: &Endpoint) -> bool {
        self.0.binary_search(endpoint).is_ok()
    }

    /// In the order of the alphabet.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0
    }
}

impl TryFrom<Vec<Endpoint>> for Scopes {
    type Error = ScopesError;

    fn try_from(mut endpoints: Vec<Endpoint>) -> Result<Scopes, ScopesError> {
        if endpoints.is_empty() {
            return Err(ScopesError::Empty);
        }
        if endpoints.len() > Scopes::MAX {
            return Err(ScopesError::TooMany { max: Scopes::MAX });
        }
        endpoints.sort();
        if endpoints
            .windows(2)
            .any(|pair| matches!(pair, [one, next] if one == next))
        {
            return Err(ScopesError::Twice);
        }
        Ok(Scopes(endpoints.into()))
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = ScopesError;

    fn try_from(texts: Vec<String>) -> Result<Scopes, ScopesError> {
        // Said first, so that a list of a million costs no reading of its names.
        if texts.len() > Scopes::MAX {
            return Err(ScopesError::TooMany { max: Scopes::MAX });
        }
        let endpoints: Result<Vec<Endpoint>, _> = texts.iter().map(|text| Endpoint::parse(text)).collect();
        endpoints.map_err(|_| ScopesError::NotAnEndpoint)?.try_into()
    }
}

impl From<Scopes> for Vec<Endpoint> {
    fn from(scopes: Scopes) -> Vec<Endpoint> {
        scopes.0.to_vec()
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> Result<Scopes, ScopesError> {
        let texts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        texts.try_into()
    }

    #[test]
    fn a_key_is_for_the_endpoints_that_are_named_and_for_no_other() {
        let two = scopes(&["serp", "ai_visibility"]).unwrap();
        let allows = |name: &str| two.allow(&Endpoint::parse(name).unwrap());
        assert!(allows("serp") && allows("ai_visibility"));
        assert!(!allows("serp_task") && !allows("ser") && !allows("a"));
    }

    #[test]
    fn the_order_in_which_they_are_named_says_nothing() {
        let one = scopes(&["serp", "ai_visibility"]).unwrap();
        assert_eq!(one, scopes(&["ai_visibility", "serp"]).unwrap());
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"["ai_visibility","serp"]"#);
    }

    #[test]
    fn lists_that_are_no_scopes_say_why() {
        assert_eq!(scopes(&[]), Err(ScopesError::Empty));
        assert_eq!(scopes(&["serp", "echo", "serp"]), Err(ScopesError::Twice));
        for bad in ["", "Serp", "a b", "*", "sk_live_ABC", "é"] {
            assert_eq!(scopes(&["serp", bad]), Err(ScopesError::NotAnEndpoint), "{bad}");
        }
        let many: Vec<String> = (0..65).map(|n| format!("e{n}")).collect();
        assert!(Scopes::try_from(many[..64].to_vec()).is_ok());
        assert_eq!(Scopes::try_from(many), Err(ScopesError::TooMany { max: 64 }));
    }
}
