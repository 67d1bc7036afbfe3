//! The service as a library.
