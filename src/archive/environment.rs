//! What the environment says of archives: where they are for this process, and by which credentials.

use rusty_s3::Credentials;

use super::place::{BadPlace, Place};

/// Where segments are instead of where the database says, and how an S3-compatible store is spoken to.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    place: Option<String>,
    pub(super) credentials: Option<Credentials>,
    /// Whom to believe that the store is the store, in PEM; else whom browsers believe.
    pub(super) ca_file: Option<String>,
}

impl Environment {
    /// `KEYLEDGER_ARCHIVE`, and what S3 clients read: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`
    /// and `AWS_CA_BUNDLE`.
    pub fn read() -> Environment {
        let said = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        Environment {
            place: said("KEYLEDGER_ARCHIVE"),
            credentials: Credentials::from_env(),
            ca_file: said("AWS_CA_BUNDLE"),
        }
    }

    /// Where the database says, whatever the environment says.
    pub fn where_the_database_says(mut self) -> Environment {
        self.place = None;
        self
    }

    /// With these credentials for S3-compatible stores.
    pub fn with_credentials(mut self, key: &str, secret: &str) -> Environment {
        self.credentials = Some(Credentials::new(key, secret));
        self
    }

    /// Where what is said to be at `place` is for this process: the same files may be mounted elsewhere here.
    pub(super) fn place(&self, place: &str) -> Result<Place, BadPlace> {
        Place::parse(self.place.as_deref().unwrap_or(place))
    }
}
