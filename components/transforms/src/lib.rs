//! Transforms, one module per component. A module registers its component; nothing here is called by name.

mod attributes;
mod kubernetes_attributes;
mod resource;
mod select;
mod values;
