//! Landing: every attempt's record and bytes, durable before anything uses them.
