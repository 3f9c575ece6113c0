//! What makes a model well-formed.
