//! Option modules of the transforms, one a component.

pub mod resource;
pub mod select;

pub use resource::Resource;
pub use select::Select;
