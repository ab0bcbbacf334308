pub(crate) mod members;
