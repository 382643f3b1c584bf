//! Option modules of the transforms, one a component.

pub mod attributes;
pub mod kubernetes_attributes;
pub mod resource;
pub mod select;

pub use attributes::Attributes;
pub use kubernetes_attributes::KubernetesAttributes;
pub use resource::Resource;
pub use select::Select;
