//! What rebuilds that were killed left behind.

use super::{ViewError, Views};

impl Views {
    /// Removes tables of rebuilds and comparisons that came to no end: they have names and addresses that others may have to
    /// forget. Those of one that is under way stay; it folds what is to be forgotten like everything else. Answers how many.
    pub async fn forget_left_generations(&self) -> Result<i64, ViewError> {
        Ok(sqlx::query_scalar("select forget_left_generations()")
            .fetch_one(&self.pool)
            .await?)
    }
}
