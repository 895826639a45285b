//! Starts that go on with a run.
