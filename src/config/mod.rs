//! Configuration: pipelines and gateway definitions, read, checked and turned into values.

pub mod gateway;
pub mod pipeline;
pub mod pointer;
pub mod template;

pub use gateway::Gateway;
pub use pipeline::Pipeline;
pub use pointer::Pointer;
pub use template::Template;
