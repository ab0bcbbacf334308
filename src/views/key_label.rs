//! What a key is called, where something else is the matter.

use sqlx::postgres::PgRow;

use super::{Columns as _, ViewError};

/// A key's name and preview. A deleted key keeps both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    pub name: String,
    pub preview: String,
    pub deleted: bool,
}

/// Reads the columns `key_name`, `key_preview` and `key_deleted_at` of an outer join. `None` when the key list does not
/// know the key yet, or there is none.
pub(super) fn key_label(row: &PgRow) -> Result<Option<KeyLabel>, ViewError> {
    let (Some(name), Some(preview)) = (row.text_or_none("key_name")?, row.text_or_none("key_preview")?) else {
        return Ok(None);
    };
    Ok(Some(KeyLabel {
        name,
        preview,
        deleted: row.time_or_none("key_deleted_at")?.is_some(),
    }))
}
