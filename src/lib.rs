//! huopan (货盘): wholesale catalogues of 1688-style gateways, every night, as tables you can query.

pub mod base;
pub mod config;
pub mod extract;
pub mod land;
pub mod load;
pub mod plan;
pub mod sim;
pub mod transform;
