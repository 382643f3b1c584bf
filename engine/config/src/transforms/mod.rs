//! Option modules of the transforms, one a component.

pub mod attributes;
pub mod resource;
pub mod select;

pub use attributes::Attributes;
pub use resource::Resource;
pub use select::Select;
