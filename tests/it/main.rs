//! One binary for all integration tests; each topic is a module.

mod layers;
