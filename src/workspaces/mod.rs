//! 工作空间: units of work, each bound to one cluster. Their own pages come later; which cluster has them counts already.

pub mod queries;
