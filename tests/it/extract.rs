//! Extraction with the built-in definitions against the simulator, which verifies signatures with code of its own.
