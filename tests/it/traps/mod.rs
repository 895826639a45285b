//! Every trap and every row of the trouble tables that the gateways' guides tell, each with a test named after it.

mod aop;
mod ask;
mod general;
mod item_get;
mod portals;
mod product_get;
mod resellers;
mod shares;
mod shop_search;
mod tokens;
