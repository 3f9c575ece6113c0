//! The envelope around a blob.
